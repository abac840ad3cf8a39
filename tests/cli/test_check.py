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
def test_a_loss_that_fails_is_told_in_one_line(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path, fields="dict(loss=lambda model, batch: model(batch[1]))")

    done = do("check", "mine.py:workload")

    assert done.code == 1
    assert "its loss on 6 training examples raised" in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_budget_that_ends_first_is_told_as_such(do: Any, tmp_path: Path) -> None:
    write_user_file(tmp_path)

    done = do("check", "mine.py:workload", "--budget", "0.32s")

    assert done.code == 1
    assert "it ended before the gradients were compared; give a larger --budget" in done.err
