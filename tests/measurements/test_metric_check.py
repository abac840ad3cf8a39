from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.measurements.metric_check import check_metrics
from batchlab.records.runnable_sizes import ANY_SIZE, RunnableSizes
from batchlab.workload.definition import Metric, Workload

CPU = torch.device("cpu")
EVEN = RunnableSizes(least=2, multiple_of=2)
X = torch.randn(310, 2, generator=torch.Generator().manual_seed(0))


def checked(sizes: RunnableSizes = ANY_SIZE, *, n: int = 101, **fields: Any) -> tuple[str, ...]:
    given: dict[str, Any] = {
        "train": (X[:200],),
        "validation": (X[200 : 200 + n].clone(),),
        "loss": lambda model, batch: model(batch[0]).square().mean(),
        "batch_size": 16,
        "learning_rate": 0.1,
    }
    workload = Workload(name="judged", model=lambda: nn.Linear(2, 1), **(given | fields))
    return check_metrics(workload, nn.Linear(2, 1), CPU, sizes)


def residual(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    return slope.square().mean()


def summed(model: nn.Module, batch: Any) -> Tensor:
    return residual(model, batch) * len(batch[0])


def test_a_metric_that_differentiates_is_offered_gradients() -> None:
    with pytest.raises(WorkloadError) as caught:
        checked(metrics={"error": residual})

    told = str(caught.value)
    assert "metric 'error' differentiates, and evaluations are without gradients" in told
    assert 'Metric(sum=..., better="lower", enable_grad=True)' in told


def test_a_metric_that_keeps_gradients_may_differentiate() -> None:
    metric = Metric(sum=summed, better="lower", enable_grad=True)

    assert checked(metrics={"residual": metric}) == ()


def slopes(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    return slope, batch[0]


def error(found: Tensor, true: Tensor) -> Tensor:
    return (found - true).square().mean()


def test_a_metric_over_all_that_differentiates_is_offered_gradients_too() -> None:
    with pytest.raises(WorkloadError) as caught:
        checked(metrics={"forces": Metric(over_all=error, predict=slopes, better="lower")})

    assert 'Metric(over_all=..., better="lower", enable_grad=True)' in str(caught.value)


def test_a_metric_over_all_that_keeps_gradients_may_differentiate() -> None:
    forces = Metric(over_all=error, predict=slopes, better="lower", enable_grad=True)

    assert checked(metrics={"forces": forces}) == ()


def test_a_metric_that_fails_either_way_is_told_as_it_failed() -> None:
    with pytest.raises(WorkloadError, match="metric 'error' raised KeyError: 'x'"):
        checked(metrics={"error": lambda model, batch: {}["x"]})


def test_a_metric_is_asked_about_the_last_batch_of_validation() -> None:
    def accuracy(model: nn.Module, batch: Any) -> Tensor:
        if len(batch[0]) == 101 - 64:
            raise ValueError("37")
        return model(batch[0]).mean()

    with pytest.raises(WorkloadError) as caught:
        checked(metrics={"accuracy": accuracy})

    assert "metric 'accuracy' on the last 37 examples of validation raised" in str(caught.value)


def test_examples_that_no_batch_reaches_are_told_beforehand() -> None:
    assert checked(EVEN) == (
        "the last example of validation (101) will be left out of its evaluations: the model takes "
        "an even number of examples in a pass",
    )


def test_a_split_that_the_model_cannot_take_is_refused() -> None:
    with pytest.raises(WorkloadError, match="test has 1 example, and its model takes an even"):
        checked(EVEN, test=(X[:1].clone(),))
