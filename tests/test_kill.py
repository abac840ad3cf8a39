"""Kill -9 at random moments: nothing is lost or trained twice, and the numbers are the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.reference.killed_sweep import (
    assert_killed_often_ends_the_same,
    records_of,
    sweep_command,
)

EPOCHS = 12


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a sweep that nobody killed."""
    store = tmp_path_factory.mktemp("undisturbed") / "lab.db"
    done = subprocess.run(sweep_command(store, EPOCHS), check=True, capture_output=True, text=True)
    assert "training" in done.stderr
    return store


@pytest.mark.slow
def test_a_sweep_killed_at_three_random_moments_ends_with_the_very_same_numbers(
    undisturbed: Path, tmp_path: Path
) -> None:
    # Sixty in tests/nightly.
    assert_killed_often_ends_the_same(
        tmp_path, undisturbed, seed=20_261_120, epochs=EPOCHS, kills=3, while_starting=1
    )


@pytest.mark.slow
def test_a_sweep_on_a_store_that_holds_all_its_trials_starts_no_child(undisturbed: Path) -> None:
    before = records_of(undisturbed)

    again = subprocess.run(
        sweep_command(undisturbed, EPOCHS), check=True, capture_output=True, text=True
    )

    assert again.stderr == ""
    assert records_of(undisturbed) == before
