from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.reference.killed_commands import assert_no_kill_leaves_a_process
from tests.reference.large_output import assert_a_large_output_is_kept_small


@pytest.mark.nightly
def test_two_hundred_kills_of_trial_and_batchlab_at_random_moments_leave_no_process(
    tmp_path: Path,
) -> None:
    assert_no_kill_leaves_a_process(tmp_path, seed=random.randrange(10**6), kills=200)


@pytest.mark.nightly
def test_a_gigabyte_of_output_of_a_command_keeps_a_few_megabytes(tmp_path: Path) -> None:
    assert_a_large_output_is_kept_small(tmp_path, n_bytes=1_000_000_000)
