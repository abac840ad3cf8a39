"""Eigenvalues of the Hessian: closed forms, and the dense Hessian of a small network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab.measure.sharpness import LossSurface, top_eigenvalues
from batchlab.workload.builtin.least_squares import optimum
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload

CPU = torch.device("cpu")
N = 90


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 18), nn.Tanh(), nn.Linear(18, 6)).double()


def workload_of(model: nn.Module) -> Workload:
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(N, 20, generator=stream, dtype=torch.float64)
    y = torch.randint(6, (N,), generator=stream)
    return Workload(
        name="small", model=lambda: model, train=(x, y), validation=None, loss=cross_entropy
    )


def dense_hessian(workload: Workload, model: nn.Module) -> Tensor:
    """From its definition, row by row."""
    parameters = list(model.parameters())
    loss = workload.loss(model, workload.train)
    first = torch.cat(
        [part.flatten() for part in torch.autograd.grad(loss, parameters, create_graph=True)]
    )
    rows = [
        torch.cat(
            [part.flatten() for part in torch.autograd.grad(one, parameters, retain_graph=True)]
        )
        for one in first
    ]
    return torch.stack(rows)


@pytest.mark.parametrize(("dimension", "condition_number"), [(30, 10), (30, 1000), (2, 10)])
def test_of_least_squares_they_are_the_closed_form(dimension: int, condition_number: int) -> None:
    settings = {
        "n": "500",
        "dimension": str(dimension),
        "condition_number": str(condition_number),
    }
    workload = loaded_workload("least-squares", settings).workload
    curvatures = optimum(*workload.train).curvatures.numpy()[::-1]
    surface = LossSurface(workload, workload.model(), torch.arange(500), device=CPU)

    found = top_eigenvalues(surface, min(3, dimension))

    assert found == pytest.approx(tuple(curvatures[:3]), rel=1e-5)


@pytest.mark.slow
def test_of_a_network_they_are_those_of_the_dense_hessian_whatever_the_passes() -> None:
    model = network()
    workload = workload_of(model)
    dense = dense_hessian(workload, model).numpy()
    truth = np.linalg.eigvalsh((dense + dense.T) / 2)[::-1]
    assert len(truth) == 492

    for size in (N, 31):
        surface = LossSurface(workload, model, torch.arange(N), device=CPU, pass_examples=size)

        assert top_eigenvalues(surface, 2) == pytest.approx(tuple(truth[:2]), rel=1e-4)


def test_the_gradient_is_that_of_the_mean_over_all_passes() -> None:
    model = network()
    workload = workload_of(model)
    loss = workload.loss(model, workload.train)
    truth = torch.cat(
        [part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))]
    )
    surface = LossSurface(workload, model, torch.arange(N), device=CPU, pass_examples=7)

    value, gradient = surface.gradient(surface.weights)

    assert value == pytest.approx(float(loss.detach())) == surface.loss(surface.weights)
    assert gradient == pytest.approx(truth.numpy())


def test_dropout_is_off_and_batch_normalization_is_as_in_training() -> None:
    torch.manual_seed(3)
    dropped = nn.Sequential(nn.Linear(20, 8), nn.Dropout(), nn.Linear(8, 6)).double()
    normalized = nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Linear(8, 6)).double()

    for model in (dropped, normalized):
        workload = workload_of(model)
        surface = LossSurface(workload, model, torch.arange(N), device=CPU)
        model[1].training = model is normalized
        with torch.no_grad():
            assert surface.loss(surface.weights) == pytest.approx(
                float(workload.loss(model, workload.train))
            )


def test_the_hessian_is_that_at_the_models_own_weights_wherever_one_has_looked() -> None:
    model = network()
    surface = LossSurface(workload_of(model), model, torch.arange(N), device=CPU)
    before = top_eigenvalues(surface)

    surface.loss(surface.weights + 1.0)

    assert top_eigenvalues(surface) == pytest.approx(before)
