from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.reference.killed_studies import assert_killed_studies_end_the_same


@pytest.mark.nightly
@pytest.mark.parametrize("resumes", [True, False], ids=["resumes", "begins again"])
def test_sweeps_of_a_script_killed_at_a_hundred_random_moments_have_the_very_same_records(
    tmp_path: Path, resumes: bool
) -> None:
    seed = random.randrange(10**6)
    assert_killed_studies_end_the_same(tmp_path, seed=seed, kills=100, resumes=resumes)
