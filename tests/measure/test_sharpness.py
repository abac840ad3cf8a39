"""Sharpness: the box of the paper, on losses whose maximum is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchlab.errors import UsageError
from batchlab.measure.sharpness import LossSurface, sharpness
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


def test_it_is_never_below_0_and_the_same_for_the_same_seed() -> None:
    workload = loaded_workload("mnist-softmax", {}).workload
    model = workload.model()
    nn.init.normal_(model[1].weight, std=0.05)
    surface = LossSurface(workload, model, torch.arange(300), device=CPU)

    found = [sharpness(surface, epsilon=5e-4, seed=seed) for seed in (0, 0, 1)]

    assert found[0] == found[1] > 0
    assert found[2] >= 0


@pytest.mark.parametrize("epsilon", [0.0, -1.0, float("nan")])
def test_a_box_without_size_is_refused(epsilon: float) -> None:
    with pytest.raises(UsageError, match="expected a number above 0"):
        sharpness(bowl([1.0], [1.0]), epsilon=epsilon)
