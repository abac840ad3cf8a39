"""Sharpness: the box of the paper, on losses whose maximum is known."""

import itertools

import numpy as np
import pytest
import torch
from tests.reference.least_squares import optimum
from tests.reference.small_workloads import cross_entropy
from torch import Tensor, nn

from batchlab.errors import UsageError
from batchlab.measure.at_steps import LossSurface, sharpness, top_eigenvalue
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload

CPU = torch.device("cpu")


class Point(nn.Module):
    """A point as a model."""

    def __init__(self, x: list[float]) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(x, dtype=torch.float64))


def bowl(x: list[float], curvatures: list[float]) -> LossSurface:
    """The quadratic 1/2 sum h_i x_i^2 around x."""
    h = torch.tensor(curvatures, dtype=torch.float64)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, Point)
        return 0.5 * (h * model.x.square()).sum()

    workload = Workload(
        name="bowl", model=lambda: Point(x), train=(torch.zeros(4, 1),), validation=None, loss=loss
    )
    return LossSurface(workload, Point(x), torch.arange(4), device=CPU)


def highest_corner(x: list[float], curvatures: list[float], epsilon: float) -> float:
    """The loss at the best corner of the box: a convex function is highest in one."""
    corners = itertools.product(
        *[(v - epsilon * (abs(v) + 1), v + epsilon * (abs(v) + 1)) for v in x]
    )
    return max(
        0.5 * sum(h * v * v for h, v in zip(curvatures, corner, strict=True)) for corner in corners
    )


def test_it_is_that_of_the_published_formula() -> None:
    # Test R of the published formulas: the highest point is (1.2, 0.1) or (1.2, -0.1).
    assert sharpness(bowl([1.0, 0.0], [2.0, 3.0]), epsilon=0.1) == pytest.approx(22.75)


@pytest.mark.parametrize("seed", range(4))
def test_on_a_bowl_the_best_corner_is_found(seed: int) -> None:
    stream = np.random.default_rng(seed)
    x, curvatures = stream.standard_normal(5).tolist(), stream.uniform(0.5, 2, 5).tolist()
    at = 0.5 * sum(h * v * v for h, v in zip(curvatures, x, strict=True))
    truth = 100 * (highest_corner(x, curvatures, 0.01) - at) / (1 + at)

    assert sharpness(bowl(x, curvatures), epsilon=0.01, seed=seed) == pytest.approx(truth)


def test_at_the_lowest_point_the_search_gets_away_from_it() -> None:
    found = sharpness(bowl([0.0, 0.0], [1.0, 1.0]), epsilon=0.1)

    assert found == pytest.approx(100 * 0.01)


@pytest.mark.parametrize("seed", range(3))
def test_in_a_subspace_the_best_corner_of_its_own_box_is_found(seed: int) -> None:
    stream = np.random.default_rng(seed)
    x, curvatures = stream.standard_normal(6), stream.uniform(0.5, 2, 6)
    # The columns that are drawn first, in the order of the paper's formula.
    columns = np.random.default_rng(seed).standard_normal((6, 2), dtype=np.float32).astype(float)
    box = 0.01 * (np.abs(np.linalg.pinv(columns) @ x) + 1)
    at = float(curvatures @ x**2) / 2
    corners = itertools.product(*[(-edge, edge) for edge in box])
    highest = max(float(curvatures @ (x + columns @ np.array(c)) ** 2) / 2 for c in corners)

    found = sharpness(
        bowl(x.tolist(), curvatures.tolist()), epsilon=0.01, n_directions=2, seed=seed
    )

    assert found == pytest.approx(100 * (highest - at) / (1 + at), rel=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_a_box_without_size_is_refused(epsilon: float) -> None:
    with pytest.raises(UsageError, match="expected a number above 0"):
        sharpness(bowl([1.0], [1.0]), epsilon=epsilon)


N = 90


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


@pytest.mark.parametrize("curvatures", [[2.0], [0.5, 2.0]])
def test_of_one_weight_or_two_it_is_the_largest_curvature(curvatures: list[float]) -> None:
    surface = bowl([1.0] * len(curvatures), curvatures)

    assert top_eigenvalue(surface) == pytest.approx(2.0)


def test_a_loss_that_is_linear_in_the_weights_does_not_bend() -> None:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return model.x.sum()

    model = Point([1.0, 2.0, 3.0])
    workload = Workload(
        name="slope", model=lambda: model, train=(torch.zeros(4, 1),), validation=None, loss=loss
    )

    assert top_eigenvalue(LossSurface(workload, model, torch.arange(4), device=CPU)) == 0


@pytest.mark.parametrize(("dimension", "condition_number"), [(30, 10), (30, 1000), (3, 10)])
def test_of_least_squares_it_is_the_closed_form(dimension: int, condition_number: int) -> None:
    settings = {"n": "500", "dimension": str(dimension), "condition_number": str(condition_number)}
    workload = loaded_workload("least-squares", settings).workload
    curvatures = optimum(*workload.train).curvatures.numpy()
    surface = LossSurface(workload, workload.model(), torch.arange(500), device=CPU)

    assert top_eigenvalue(surface) == pytest.approx(float(curvatures[-1]), rel=1e-5)


@pytest.mark.slow
def test_of_a_network_it_is_that_of_the_dense_hessian_whatever_the_passes() -> None:
    model = network()
    workload = workload_of(model)
    dense = dense_hessian(workload, model).numpy()
    truth = np.linalg.eigvalsh((dense + dense.T) / 2)
    assert len(truth) == 492

    for size in (N, 31):
        surface = LossSurface(workload, model, torch.arange(N), device=CPU, pass_examples=size)

        assert top_eigenvalue(surface) == pytest.approx(float(truth[-1]), rel=1e-4)


def test_the_gradient_is_that_of_the_mean_over_all_passes() -> None:
    model = network()
    workload = workload_of(model)
    loss = workload.loss(model, workload.train)
    truth = torch.cat(
        [part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))]
    )
    surface = LossSurface(workload, model, torch.arange(N), device=CPU, pass_examples=7)

    value, gradient = surface.gradient(surface.weights)

    assert value == pytest.approx(float(loss.detach()))
    assert gradient == pytest.approx(truth.numpy())


def test_dropout_is_off_and_batch_normalization_is_as_in_training() -> None:
    torch.manual_seed(3)
    dropped = nn.Sequential(nn.Linear(20, 8), nn.Dropout(), nn.Linear(8, 6)).double()
    normalized = nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Linear(8, 6)).double()

    for model in (dropped, normalized):
        workload = workload_of(model)
        surface = LossSurface(workload, model, torch.arange(N), device=CPU)
        model[1].training = model is normalized
        loss = float(workload.loss(model, workload.train).detach())
        assert surface.gradient(surface.weights)[0] == pytest.approx(loss)
