from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.reference.killed_sweep import assert_killed_often_ends_the_same, sweep_command


@pytest.mark.nightly
def test_a_sweep_killed_at_sixty_random_moments_ends_with_the_very_same_numbers(
    tmp_path: Path,
) -> None:
    undisturbed = tmp_path / "undisturbed.db"
    subprocess.run(sweep_command(undisturbed, 450), check=True, capture_output=True)

    assert_killed_often_ends_the_same(
        tmp_path, undisturbed, seed=20_261_121, epochs=450, kills=60, while_starting=15
    )
