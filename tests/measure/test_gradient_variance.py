"""The variance of mini-batch gradients: as sampling theory says, and none of the whole set."""

from __future__ import annotations

import copy
from itertools import combinations

import pytest
import torch
from tests.reference.noise_scale import mean_of, population, sq_distance
from torch import nn

from batchlab.errors import BatchSizeError
from batchlab.measure.gradient_noise import gradient_variance
from batchlab.measure.gradients import batch_gradient
from batchlab.workload.definition import Workload
from batchlab.workload.loading import loaded_workload

CPU = torch.device("cpu")


def regression(n: int) -> tuple[Workload, nn.Module, float]:
    """A linear regression with its model and tr Sigma."""
    workload = loaded_workload("least-squares", {"n": str(n), "dimension": "4"}).workload
    model = workload.model()
    gradients = [
        batch_gradient(workload, model, tuple(part[i : i + 1] for part in workload.train)).tolist()
        for i in range(n)
    ]
    return workload, model, population(gradients)[0]


@pytest.mark.slow
def test_it_lies_where_sampling_theory_says_at_every_batch_size() -> None:
    workload, model, trace = regression(64)
    sizes = (1, 2, 4, 8, 16, 32, 48, 63)

    points = gradient_variance(
        workload, model, sizes, device=CPU, seed=0, n_batches=2000, trace=trace
    )

    for point in points:
        found = point.variance
        assert found.estimate is not None
        assert found.low is not None
        assert point.expected is not None
        standard_error = (found.estimate - found.low) / 1.96
        assert abs(found.estimate - point.expected) < 4 * standard_error
    assert points[0].expected == pytest.approx(trace)


def test_what_is_expected_is_the_mean_over_all_batches_there_are() -> None:
    workload, model, trace = regression(6)
    gradients = [
        batch_gradient(workload, model, tuple(part[i : i + 1] for part in workload.train)).tolist()
        for i in range(6)
    ]
    whole = mean_of(gradients)

    points = gradient_variance(
        workload, model, (1, 2, 3, 5), device=CPU, seed=0, n_batches=2, trace=trace
    )

    for point in points:
        every = [
            sq_distance(mean_of(chosen), whole)
            for chosen in combinations(gradients, point.batch_size)
        ]
        assert point.expected == pytest.approx(sum(every) / len(every))


def test_a_batch_of_the_whole_set_has_none_exactly() -> None:
    workload, model, trace = regression(64)

    (point,) = gradient_variance(workload, model, (64,), device=CPU, seed=0, trace=trace)

    assert (point.variance.low, point.variance.estimate, point.variance.high) == (0, 0, 0)
    assert point.expected == 0


def test_passes_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    workload, model, _ = regression(64)
    at_once = gradient_variance(workload, model, (40,), device=CPU, seed=0, n_batches=5)

    monkeypatch.setattr("batchlab.measure.gradient_noise._PASS_EXAMPLES", 7)
    in_passes = gradient_variance(workload, model, (40,), device=CPU, seed=0, n_batches=5)

    assert in_passes[0].variance.estimate == pytest.approx(at_once[0].variance.estimate)
    assert in_passes[0].expected is None


def test_model_and_random_streams_stay_as_they_were() -> None:
    workload, _, _ = regression(64)
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    before, stream = copy.deepcopy(model.state_dict()), torch.get_rng_state()

    gradient_variance(workload, model, (4,), device=CPU, seed=0, n_batches=3)

    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(part.grad is None for part in model.parameters())
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize("size", [0, 65])
def test_a_batch_size_that_cannot_be_is_refused(size: int) -> None:
    workload, model, _ = regression(64)

    with pytest.raises(BatchSizeError, match=f"batch size {size}: expected 1 to 64"):
        gradient_variance(workload, model, (size,), device=CPU, seed=0)
