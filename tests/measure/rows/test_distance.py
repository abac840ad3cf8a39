from __future__ import annotations

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.moments import moment_of
from tests.reference.small_workloads import small_trial, small_workload
from torch import nn

from batchlab.measure.registry import measured_at_steps
from batchlab.records.run import RunLength

distance = measured_at_steps()["distance"]


def test_it_is_that_of_all_parameters_together() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    initial = [part.detach() + 0.5 for part in model.parameters()]
    n_parameters = 3 * 4 + 4 + 4 * 2 + 2

    assert distance(moment_of(model, initial=initial)) == pytest.approx(
        0.5 * n_parameters**0.5, rel=1e-6
    )


def test_at_the_beginning_it_is_0() -> None:
    model = nn.Linear(3, 1)
    initial = [part.detach() for part in model.parameters()]

    assert distance(moment_of(model, initial=initial)) == 0


def test_a_training_moves_away_from_where_it_began() -> None:
    workload = small_workload()

    run = run_engine(workload, small_trial(workload, batch_size=4), RunLength(epochs=2))

    found = [dict(each.measured)["distance"] for each in run.evaluations if each.step]
    assert all(value is not None and value > 0 for value in found)
    assert found[-1] != found[0]
