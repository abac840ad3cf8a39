from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.reference.killed_commands import assert_no_kill_leaves_a_process


@pytest.mark.slow
def test_three_kills_of_trial_and_batchlab_at_random_moments_leave_no_process(
    tmp_path: Path,
) -> None:
    # Two hundred in tests/nightly.
    assert_no_kill_leaves_a_process(tmp_path, seed=random.randrange(10**6), kills=3)
