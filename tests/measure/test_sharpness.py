"""The loss around the weights: sharpness and curvature, where the truth has a closed form."""

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference.least_squares import optimum
from tests.reference.small_workloads import cross_entropy
from torch import Tensor, nn

from batchlab.errors import UsageError
from batchlab.measure.at_steps import LossSurface, sharpness, top_eigenvalue
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload

CPU = torch.device("cpu")
Vector = NDArray[np.float64]


class Point(nn.Module):
    """A point as a model."""

    def __init__(self, x: list[float]) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(x, dtype=torch.float64))


def bowl(x: list[float], curvatures: list[float], *, slope: float = 0.0) -> LossSurface:
    """The quadratic 1/2 sum h_i x_i^2 around x, and a slope."""
    h = torch.tensor(curvatures, dtype=torch.float64)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, Point)
        return 0.5 * (h * model.x.square()).sum() + slope * model.x.sum()

    workload = Workload(
        name="bowl", model=lambda: Point(x), train=(torch.zeros(4, 1),), validation=None, loss=loss
    )
    return LossSurface(workload, Point(x), torch.arange(4), device=CPU)


@pytest.mark.parametrize(
    ("x", "curvatures", "expected"),
    [
        # Test R of the published formulas: the highest point is (1.2, 0.1) or (1.2, -0.1).
        ([1.0, 0.0], [2.0, 3.0], 22.75),
        # The search gets away from the lowest point.
        ([0.0, 0.0], [1.0, 1.0], 100 * 0.01),
    ],
)
def test_it_is_that_of_the_published_formula(
    x: list[float], curvatures: list[float], expected: float
) -> None:
    assert sharpness(bowl(x, curvatures), epsilon=0.1) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_directions", [None, 2])
def test_on_a_bowl_the_best_corner_of_the_box_is_found(seed: int, n_directions: int | None) -> None:
    """A convex function is highest in a corner."""
    stream = np.random.default_rng(seed)
    x, curvatures = stream.standard_normal(6), stream.uniform(0.5, 2, 6)
    columns, center = np.eye(6), x
    if n_directions is not None:
        # The columns that are drawn first, in the order of the paper's formula.
        drawn = np.random.default_rng(seed).standard_normal((6, n_directions), dtype=np.float32)
        columns = drawn.astype(float)
        center = np.linalg.pinv(columns) @ x
    box = 0.01 * (np.abs(center) + 1)

    def loss(at: Vector) -> float:
        return float(curvatures @ at**2) / 2

    corners = map(np.array, itertools.product(*zip(-box, box, strict=True)))
    highest = max(loss(x + columns @ corner) for corner in corners)

    found = sharpness(
        bowl(x.tolist(), curvatures.tolist()), epsilon=0.01, n_directions=n_directions, seed=seed
    )

    assert found == pytest.approx(100 * (highest - loss(x)) / (1 + loss(x)), rel=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_a_box_without_size_is_refused(epsilon: float) -> None:
    with pytest.raises(UsageError, match="expected a number above 0"):
        sharpness(bowl([1.0], [1.0]), epsilon=epsilon)


@pytest.mark.parametrize(
    ("curvatures", "slope", "expected"),
    [([2.0], 0.0, 2.0), ([0.5, 2.0], 0.0, 2.0), ([0.0, 0.0, 0.0], 1.0, 0.0)],
    ids=["one weight", "two weights", "a loss that is linear in the weights"],
)
def test_of_few_weights_it_is_the_largest_curvature(
    curvatures: list[float], slope: float, expected: float
) -> None:
    surface = bowl([1.0] * len(curvatures), curvatures, slope=slope)

    assert top_eigenvalue(surface) == pytest.approx(expected)


@pytest.mark.parametrize(("dimension", "condition_number"), [(30, 10), (30, 1000), (3, 10)])
def test_of_least_squares_it_is_the_closed_form(dimension: int, condition_number: int) -> None:
    settings = {"n": "500", "dimension": str(dimension), "condition_number": str(condition_number)}
    workload = loaded_workload("least-squares", settings).workload
    curvatures = optimum(*workload.train).curvatures.numpy()
    surface = LossSurface(workload, workload.model(), torch.arange(500), device=CPU)

    assert top_eigenvalue(surface) == pytest.approx(float(curvatures[-1]), rel=1e-5)


N = 90


def network(between: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 8), between or nn.Tanh(), nn.Linear(8, 6)).double()


def workload_of(model: nn.Module) -> Workload:
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(N, 20, generator=stream, dtype=torch.float64)
    y = torch.randint(6, (N,), generator=stream)
    return Workload(
        name="small", model=lambda: model, train=(x, y), validation=None, loss=cross_entropy
    )


@pytest.mark.parametrize("pass_examples", [N, 31, 7])
def test_of_a_network_it_is_that_of_the_dense_hessian_whatever_the_passes(
    pass_examples: int,
) -> None:
    model = network()
    workload = workload_of(model)
    parameters = dict(model.named_parameters())
    flat = nn.utils.parameters_to_vector(parameters.values()).detach()

    def loss(weights: Tensor) -> Tensor:
        pieces = weights.split([value.numel() for value in parameters.values()])
        shaped = map(Tensor.view_as, pieces, parameters.values())
        x, y = workload.train
        scores = torch.func.functional_call(model, dict(zip(parameters, shaped, strict=True)), x)
        return nn.functional.cross_entropy(scores, y)

    surface = LossSurface(workload, model, torch.arange(N), device=CPU, pass_examples=pass_examples)
    value, gradient = surface.gradient(surface.weights)

    assert value == pytest.approx(float(loss(flat)))
    assert gradient == pytest.approx(torch.autograd.functional.jacobian(loss, flat).numpy())
    truth = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))
    assert len(truth) > 100
    assert top_eigenvalue(surface) == pytest.approx(float(truth[-1]), rel=1e-4)


def test_dropout_is_off_and_batch_normalization_is_as_in_training() -> None:
    for layer in (nn.Dropout(), nn.BatchNorm1d(8)):
        model = network(layer)
        workload = workload_of(model)
        surface = LossSurface(workload, model, torch.arange(N), device=CPU)
        layer.training = isinstance(layer, nn.BatchNorm1d)
        loss = float(workload.loss(model, workload.train).detach())
        assert surface.gradient(surface.weights)[0] == pytest.approx(loss)
