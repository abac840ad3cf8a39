from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.reference.user_file import write_user_file

from batchlab.measure.profile import Profile

PROFILE_SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "profile.json"


@pytest.fixture
def quick_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    from batchlab.measure import profile_search

    monkeypatch.setattr(profile_search, "_TIMED_S", (0.02,))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_profile")
def test_a_profile_as_json_is_one_document_that_can_be_read_elsewhere(
    do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path)

    done = do("profile", "mine.py:workload", "--batch-sizes", "8,full", "--json")

    assert done.code == 0
    jsonschema.validate(json.loads(done.out), json.loads(PROFILE_SCHEMA.read_text()))
    made = Profile.from_json(done.out)
    assert [point.batch_size for point in made.points] == [8, 200]
    assert not Path("batchlab.db").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_profile")
def test_a_profile_as_text_has_a_table_and_says_what_fits(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path)

    done = do("profile", "mine.py:workload", "--batch-sizes", "8,64,full", "--memory-limit", "2GiB")

    assert done.code == 0
    assert "200 (full)" in done.out
    assert "tried and fits within 2.15 GB: 200 (full)." in " ".join(done.out.split())
