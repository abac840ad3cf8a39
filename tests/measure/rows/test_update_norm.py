"""update_norm: how far the last step moved the weights, beside the textbook's own step."""

from __future__ import annotations

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.small_workloads import small_trial, small_workload
from torch import nn

from batchlab.records.run import RunLength
from batchlab.training.stepper import Stepper


def test_it_is_the_length_of_the_last_step_alone() -> None:
    workload = small_workload()
    trial = small_trial(workload, batch_size=4)

    run = run_engine(workload, trial, RunLength(epochs=2))

    stepper = Stepper(workload, trial, torch.device("cpu"))
    stream = stepper.stream(0)
    weights = [nn.utils.parameters_to_vector(stepper.model.parameters()).detach().clone()]
    for _ in range(run.evaluations[-1].step):
        stepper.step(next(stream))
        weights.append(nn.utils.parameters_to_vector(stepper.model.parameters()).detach().clone())
    for each in run.evaluations[1:]:
        moved = float((weights[each.step] - weights[each.step - 1]).norm())
        assert each.measurement("update_norm") == pytest.approx(moved, rel=1e-5)
    assert run.evaluations[0].measurement("update_norm") is None
