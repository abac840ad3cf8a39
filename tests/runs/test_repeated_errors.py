from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up import made_up_trial
from tests.reference.tiny_workload import tiny
from tests.reference.told import Told
from torch import Tensor, nn
from torch.nn import functional

import batchlab
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status, Trial
from batchlab.runs.process_engine import RepeatedErrors

SHAPE = Reason.as_written("RuntimeError: shape '[5]' is invalid for size 3")


def trial(batch_size: int = 10, *, rate: float = 0.1, seed: int = 0) -> Trial:
    return replace(made_up_trial(batch_size=batch_size, seed=seed), learning_rate=rate)


TWO_RATES, THIRD = (trial(rate=0.1), trial(rate=0.2)), trial(rate=0.4)
MAY_BE_THE_RATES_FAULT = tuple(
    Reason.as_written(f"ValueError: {text}")
    for text in ("the loss is NaN", "expected finite values", "loss diverged", "inf in gradients")
)


@pytest.mark.parametrize(
    ("changed", "is_answered"),
    [
        ({}, True),
        ({"then": trial(20)}, False),
        ({"then": replace(THIRD, horizon_steps=80)}, False),
        ({"ended": TWO_RATES[:1]}, False),
        ({"ended": TWO_RATES[:1] * 2}, False),
        *(({"reason": why}, False) for why in MAY_BE_THE_RATES_FAULT),
        *(({"status": Status(end)}, False) for end in ("diverged", "oom", "killed", "timeout")),
    ],
)
def test_two_equal_errors_answer_for_the_rest_of_their_batch_size_and_nothing_else_does(
    changed: dict[str, Any], is_answered: bool
) -> None:
    case = {"ended": TWO_RATES, "status": Status.ERROR, "reason": SHAPE, "then": THIRD} | changed
    errors = RepeatedErrors()
    for each in case["ended"]:
        errors.note(each, case["status"], case["reason"], 4)

    why = errors.why_not(case["then"])

    assert (why and why.code) == ("failed_alike_before" if is_answered else None)


def fails_in_the_second_epoch() -> Any:
    asked = [0]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        asked[0] += model.training
        if len(batch[0]) == 10 and asked[0] > 12:
            raise KeyError("x")
        return functional.cross_entropy(model(batch[0]), batch[1])

    return loss


@pytest.mark.slow
def test_rates_that_fail_alike_cost_two_trials(tmp_path: Path) -> None:
    told = Told()

    study = batchlab.sweep(
        tiny(loss=fails_in_the_second_epoch()),
        batch_sizes=(10, 50),
        learning_rates=(0.01, 0.02, 0.03, 0.04),
        epochs=2,
        store=tmp_path / "lab.db",
        listener=told,
    )

    of_10 = [record for record in study.records if record.trial.batch_size == 10]
    assert {record.status for record in of_10} == {Status.ERROR}
    trained = [record for record in of_10 if record.evaluations]
    assert 2 <= len(trained) <= 3  # two run side by side
    untrained = [record for record in of_10 if not record.evaluations]
    assert {record.reason.code for record in untrained if record.reason} == {"failed_alike_before"}
    assert {r.status for r in study.records if r.trial.batch_size == 50} == {Status.OK}
    assert sum("two trials ended with the same error" in text for text in told.warnings) == 1
    assert sum(": error (KeyError: 'x')" in text for text in told.warnings) == 1
