from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.measure.check import check_metrics
from batchlab.records.study import ANY_SIZE, RunnableSizes
from batchlab.workload.definition import Metric, Workload

CPU = torch.device("cpu")
EVEN = RunnableSizes(least=2, multiple_of=2)
Y = (torch.arange(310) % 2).float()
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


def slopes(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    return slope, batch[0]


def error(found: Tensor, true: Tensor) -> Tensor:
    return (found - true).square().mean()


FORCES = Metric(over_all=error, predict=slopes, better="lower")


@pytest.mark.parametrize(
    ("metric", "keeps", "how"),
    [
        (residual, Metric(sum=summed, better="lower", enable_grad=True), "sum"),
        (FORCES, replace(FORCES, enable_grad=True), "over_all"),
    ],
)
def test_a_metric_that_differentiates_is_offered_gradients(
    metric: Any, keeps: Metric, how: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        checked(metrics={"error": metric})

    told = str(caught.value)
    assert "metric 'error' differentiates, and evaluations are without gradients" in told
    assert f'Metric({how}=..., better="lower", enable_grad=True)' in told
    assert checked(metrics={"error": keeps}) == ()


def counts(model: nn.Module, batch: Any) -> Tensor:
    said, true = model(batch[0]).flatten() > 100, batch[1] == 1  # it never says yes
    return torch.stack([(said & true).sum(), (said & ~true).sum(), (~said & true).sum()])


def f1(total: Tensor, count: float) -> float:
    hits, false, missed = total.tolist()
    return 2 * hits / (2 * hits + false + missed)


def sorted_by_class(n: int, *, n_positive: int) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 2), (torch.arange(n) >= n - n_positive).float()


def test_a_finalised_metric_is_asked_of_many_examples_and_not_of_the_first_few() -> None:
    """Of no positive and no positive answer F1 is 0 / 0."""
    data = {"train": sorted_by_class(200, n_positive=50), "validation": (X[:101], Y[:101])}

    assert checked(metrics={"f1": Metric(sum=counts, finalise=f1, better="higher")}, **data) == ()


def test_a_finalised_metric_that_fails_of_many_is_told_with_how_many() -> None:
    metric = Metric(sum=counts, finalise=lambda total, count: 1 / 0, better="higher")

    with pytest.raises(WorkloadError) as caught:
        checked(metrics={"f1": metric}, train=(X, Y), validation=(X[:101], Y[:101]))

    told = "metric 'f1' of 101 examples of validation raised ZeroDivisionError"
    assert told in str(caught.value)


def test_a_batch_of_nothing_but_padding_is_no_failure() -> None:
    metric = Metric(
        sum=lambda model, batch: torch.zeros(()), count=lambda batch: 0, better="higher"
    )

    assert checked(metrics={"tokens": metric}) == ()


@pytest.mark.parametrize("over_all", [False, True])
def test_examples_from_all_over_the_set_are_looked_at(over_all: bool) -> None:
    """Sorted by class, the first examples have one class only, of which there is no area."""
    seen: list[tuple[int, int]] = []

    def area(scores: Tensor, labels: Tensor) -> float:
        seen.append((len(labels), int(labels.sum())))
        return 0.5

    def share(total: Tensor, count: float) -> float:
        seen.append((int(count), int(total)))
        return 0.5

    metric = Metric(sum=lambda model, batch: batch[1].sum(), finalise=share, better="higher")
    if over_all:
        metric = Metric(over_all=area, better="higher")

    data = sorted_by_class(3000, n_positive=1500)
    checked(metrics={"area": metric}, train=data, validation=data)

    assert seen == [(1000, 500)]


def test_a_metric_over_all_is_asked_about_as_many_at_once_as_the_model_takes() -> None:
    def pairs(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        assert len(batch[0]) % 2 == 0
        return model(batch[0]), batch[0]

    metric = Metric(over_all=lambda found, true: 0.5, predict=pairs, better="higher")

    assert len(checked(EVEN, metrics={"paired": metric})) == 1


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
