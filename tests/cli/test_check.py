from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.reference.user_file import write_user_file

SCHEMA = Path(__file__).parents[2] / "docs" / "schema" / "check.json"


@pytest.mark.slow
def test_a_sound_workload_is_the_same_and_a_sum_is_not(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path)
    write_user_file(
        tmp_path,
        name="summed.py",
        fields="dict(loss=lambda model, batch: cross_entropy(model, batch) * len(batch[0]))",
    )

    sound = do("check", "mine.py:workload")
    summed = do("check", "summed.py:workload", "--json")

    assert (sound.code, summed.code) == (0, 0)
    assert "a batch and its micro-batches have the same gradient." in " ".join(sound.out.split())
    document = json.loads(summed.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert not document["equal"]
    assert [finding["cause"] for finding in document["findings"]] == ["sum"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "budget", "told"),
    [
        ("dict(loss=lambda model, batch: model(batch[1]))", "60s", "its loss on 8 training exam"),
        ("", "0.32s", "it ended before the gradients were compared; give a larger --budget"),
    ],
)
def test_a_check_that_cannot_be_made_is_told_in_one_line(
    fields: str, budget: str, told: str, do: Any, tmp_path: Path
) -> None:
    write_user_file(tmp_path, fields=fields)

    done = do("check", "mine.py:workload", "--budget", budget)

    assert done.code == 1
    (line,) = done.err.splitlines()
    assert told in line
