from __future__ import annotations

import pytest
import torch
from tests.reference.moments import moment_of
from torch import Tensor, nn

from batchlab.measure.registry import measured_at_steps

gradient_norm = measured_at_steps()["gradient_norm"]


def stepped(model: nn.Module, loss: Tensor) -> list[Tensor]:
    """The gradients that a step leaves in the model."""
    loss.backward()
    found = [part.grad for part in model.parameters() if part.grad is not None]
    assert found
    return found


def test_it_is_that_of_all_parameters_together() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()

    gradients = stepped(model, model(torch.randn(8, 3).double()).square().mean())

    flat = torch.cat([part.flatten() for part in gradients])
    assert len(gradients) == 4
    assert gradient_norm(moment_of(model)) == pytest.approx(float(flat.square().sum().sqrt()))


def test_before_the_first_step_there_is_none() -> None:
    assert gradient_norm(moment_of(nn.Linear(3, 1))) is None


def test_a_sparse_gradient_counts_each_row_once() -> None:
    torch.manual_seed(0)
    model = nn.Embedding(4, 2, sparse=True)

    gradients = stepped(model, model(torch.tensor([0, 2, 2, 1])).square().sum(1).mean())

    dense = gradients[0].to_dense()
    assert gradient_norm(moment_of(model)) == pytest.approx(float(dense.square().sum().sqrt()))
