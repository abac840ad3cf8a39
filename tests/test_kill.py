"""Kill -9 at random moments: nothing is lost or trained twice, and the numbers are the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.reference.killed_sweep import assert_killed_often_ends_the_same, sweep_command


@pytest.mark.slow
def test_a_sweep_killed_at_three_random_moments_ends_with_the_very_same_numbers(
    tmp_path: Path,
) -> None:
    # Sixty in tests/nightly.
    assert_killed_often_ends_the_same(
        tmp_path, seed=20_261_120, epochs=12, kills=3, while_starting=1
    )


@pytest.mark.slow
def test_a_sweep_on_a_store_that_holds_all_its_trials_starts_no_child(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    first = subprocess.run(sweep_command(store, 1), check=True, capture_output=True, text=True)

    second = subprocess.run(sweep_command(store, 1), check=True, capture_output=True, text=True)

    assert "training" in first.stderr
    assert second.stderr == ""
