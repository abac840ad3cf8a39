from __future__ import annotations

import pytest
import torch
from torch import nn

from batchlab.measurements.registry import measured_at_steps
from batchlab.records.measurement import Moment

distance = measured_at_steps()["distance"]


def test_it_is_that_of_all_parameters_together() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    initial = [part.detach() + 0.5 for part in model.parameters()]
    n_parameters = 3 * 4 + 4 + 4 * 2 + 2

    assert distance(Moment(model=model, initial=initial)) == pytest.approx(
        0.5 * n_parameters**0.5, rel=1e-6
    )


def test_at_the_beginning_it_is_0() -> None:
    model = nn.Linear(3, 1)

    assert distance(Moment(model=model, initial=list(model.parameters()))) == 0
