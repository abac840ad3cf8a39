"""AdviceRequest: what is asked, as far as the workload's own plan goes into it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from tests.reference.tiny_workload import tiny

import batchlab
from batchlab.app.advice_request import AdviceCall, AdviceRequest, advice_request
from batchlab.workload.loading import loaded_workload


def asked(workload: Any, **given: Any) -> AdviceRequest:
    arguments = inspect.signature(batchlab.advise).parameters.values()
    call = {each.name: each.default for each in arguments if each.name != "workload"} | given
    return advice_request(loaded_workload(workload, {}), AdviceCall(**call), elsewhere=None)


@pytest.mark.parametrize(
    ("planned", "call", "epochs"),
    [
        (None, {}, None),
        (30, {}, 30),
        (30, {"epochs": 4}, 4),
        (None, {"objective": "quality"}, 10),
        (30, {"objective": "quality"}, 30),
        (30, {"objective": "quality", "train_s": 5.0}, None),
    ],
)
def test_no_run_goes_beyond_the_training_that_is_planned(
    planned: int | None, call: dict[str, Any], epochs: int | None
) -> None:
    assert asked(tiny(epochs=planned), **call).epochs == epochs


def test_a_schedule_spans_the_training_that_is_planned() -> None:
    workload = tiny(epochs=7, schedule=lambda fraction: 1 - fraction)

    request = asked(workload)

    assert request.epochs == 7
    assert request.trial.horizon_steps == request.trial.plan.steps_in(7)
