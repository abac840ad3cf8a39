"""Scripts that did not train with the batch size that they were given, or did not train."""

from __future__ import annotations

import json
from typing import Any

import pytest

RATE = ("--learning-rates", "0.02", "--learning-rate", "0.02", "--json")


@pytest.mark.slow
def test_a_size_that_the_script_halved_by_itself_is_taken_out(ask: Any) -> None:
    sizes = ("--batch-size", "64", "--batch-sizes", "64,512")

    done = ask("auto_find.py", "sweep", "--metric", "eval_loss", *sizes, *RATE)

    document = json.loads(done.out)
    status = {each["batch_size"]: each["status"] for each in document["trials"]}
    assert status == {64: "ok", 512: "error"}
    assert "it did not train with the batch size that it was given" in done.out
    assert "it would have 3 to 4" in done.out
    assert "the steps of batch size 512 could not be timed" in done.err


@pytest.mark.slow
def test_a_size_at_which_nothing_was_trained_is_taken_out(ask: Any) -> None:
    sizes = ("--batch-size", "256", "--batch-sizes", "256,1024")
    metric = ("--metric", "val_0_logloss", "--better", "lower", "--examples", "1200")

    done = ask("drop_last.py", "sweep", *metric, *sizes, *RATE)

    document = json.loads(done.out)
    status = {each["batch_size"]: each["status"] for each in document["trials"]}
    assert status == {256: "ok", 1024: "error"}
    assert "at all 8 evaluations: it did not train" in done.out
