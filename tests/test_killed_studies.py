"""kill -9 of batchlab, of a script that it trains, or of both: the study answers the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.reference.killed_studies import assert_killed_studies_end_the_same


@pytest.mark.slow
@pytest.mark.parametrize("resumes", [True, False], ids=["resumes", "begins again"])
def test_a_sweep_of_a_script_killed_at_ten_random_moments_has_the_very_same_records(
    tmp_path: Path, resumes: bool
) -> None:
    # Two hundred in tests/nightly.
    seed = random.randrange(10**6)
    assert_killed_studies_end_the_same(tmp_path, seed=seed, kills=10, resumes=resumes)
