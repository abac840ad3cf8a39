"""What a metric sees: all of a split in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.training.evaluator import Evaluator
from batchlab.workload.definition import Metric, Workload
from batchlab.workload.loading import live_workload


def area_under_curve(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The share of pairs of a positive and a negative that the score puts in order; ties half."""
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, positive in zip(scores, labels, strict=True)
        if positive == 1
        for low, other in zip(scores, labels, strict=True)
        if other == 0
    ]
    return sum(pairs) / len(pairs)


CPU = torch.device("cpu")
AT_ONCE = 7  # 33 examples are then evaluated as 7, 7, 7, 7 and 5


def regression(metric: Any, *, n: int = 33, **changes: Any) -> Workload:
    """Inputs with repeated values, so that predictions have ties; targets are 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, (n, 2), generator=generator).float()
    y = (torch.rand(n, generator=generator) < 0.4).float()
    given: dict[str, Any] = {"train": (x, y), "validation": (x + 1, y)}
    return Workload(
        name="scores",
        model=lambda: nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).pow(2).mean(),
        metrics={"measured": metric},
        **given | changes,
    )


def model_of(workload: Workload) -> nn.Module:
    torch.manual_seed(0)
    return workload.model()


def measured(workload: Workload, split: Any = "validation") -> float | None:
    evaluator = Evaluator(workload, CPU, batch_size=AT_ONCE)
    scores = evaluator.scores(model_of(workload), (split,))
    return {score.metric: score.value for score in scores}["measured"]


def fast_area(scores: Tensor, labels: Tensor) -> Tensor:
    """From ranks: what a user would write."""
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    positives = int(labels.sum())
    negatives = len(labels) - positives
    above = ranks[labels == 1].sum() - positives * (positives + 1) / 2
    return above / (positives * negatives)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_metric_over_all_is_that_of_all_examples_and_no_mean_of_batches(split: str) -> None:
    workload = regression(Metric(over_all=fast_area, better="higher"))
    x, y = getattr(workload, split)

    found = measured(workload, split)

    assert found == pytest.approx(
        area_under_curve(model_of(workload)(x).tolist(), y.tolist()), abs=1e-5
    )


@pytest.mark.parametrize("as_list", [False, True])
def test_a_prediction_may_differentiate_and_what_is_gathered_holds_no_graph(as_list: bool) -> None:
    """Forces from an energy."""

    def forces(model: nn.Module, batch: Any) -> tuple[Any, Any]:
        x = batch[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return (list(slope) if as_list else slope), batch[0]

    def size(predictions: Any, targets: Tensor) -> Tensor:
        assert not any(part.requires_grad for part in predictions)
        return torch.stack(list(predictions)).square().mean()

    metric = Metric(over_all=size, predict=forces, better="lower", enable_grad=True)
    workload = regression(metric)

    found = measured(workload)

    assert found == pytest.approx(float(model_of(workload)[0].weight.detach().square().mean()))


class MeanAbsolute:
    """What torchmetrics' objects are like: fed by batch, emptied, asked."""

    higher_is_better: bool | None = False

    def __init__(self) -> None:
        self.total, self.n = 100.0, 100  # what somebody's own loop has left in it

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        assert not predictions.requires_grad
        self.total += float((predictions - targets).abs().sum())
        self.n += len(targets)

    def compute(self) -> Tensor:
        return torch.tensor(self.total / self.n)

    def reset(self) -> None:
        self.total, self.n = 0.0, 0


def test_an_object_that_is_fed_by_batch_is_taken_as_it_is_and_left_as_it_was() -> None:
    given = MeanAbsolute()
    workload = regression(given)
    x, y = workload.validation

    twice = [measured(workload), measured(workload)]

    expected = float((model_of(workload)(x) - y).abs().mean().detach())
    assert twice == [pytest.approx(expected)] * 2
    assert (given.total, given.n) == (100.0, 100)
    assert workload.better("measured") == "lower"


def test_an_object_without_a_direction_says_how_to_give_it_one() -> None:
    class Undirected(MeanAbsolute):
        higher_is_better = None

    with pytest.raises(WorkloadError, match=r"wrap it: batchlab.Metric\(over_all=Undirected"):
        regression(Undirected())
    wrapped = regression(Metric(over_all=Undirected(), better="lower"))
    assert measured(wrapped) == measured(regression(MeanAbsolute()))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"over_all": fast_area}, "a batchlab.Metric has no direction"),
        ({"better": "higher"}, "a batchlab.Metric has neither of sum and over_all"),
        (
            {"better": "higher", "over_all": fast_area, "sum": fast_area},
            "a batchlab.Metric has both of sum and over_all",
        ),
        (
            {"better": "higher", "sum": fast_area, "predict": fast_area},
            "a batchlab.Metric has predict without over_all",
        ),
        ({"better": "higher", "over_all": 3}, "a batchlab.Metric has over_all=3"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_when_it_is_made(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        Metric(**fields)

    assert str(caught.value).startswith(told)


def test_predictions_of_a_batch_of_dicts_are_told_by_predict() -> None:
    plain = regression(Metric(over_all=fast_area, better="higher"))
    x, y = plain.validation
    named = regression(
        Metric(
            over_all=fast_area,
            predict=lambda model, batch: (model(batch["x"]), batch["y"]),
            better="higher",
        ),
        train={"x": x - 1, "y": y.clone()},
        validation={"x": x, "y": y},
        test=None,
    )
    named = replace(named, loss=lambda model, batch: model(batch["x"]).mean())

    assert measured(live_workload(named, {}).workload) == measured(plain)


def test_texts_are_gathered_as_lists() -> None:
    def predicted(model: nn.Module, batch: Any) -> tuple[list[str], list[str]]:
        return [f"{v:g}" for v in batch[0][:, 0].tolist()], ["1"] * len(batch[1])

    seen: list[Any] = []
    metric = Metric(
        over_all=lambda said, meant: seen.append((said, meant)) or 0.5,
        predict=predicted,
        better="higher",
    )
    workload = regression(metric)

    assert measured(workload) == 0.5
    assert seen == [([f"{v:g}" for v in workload.validation[0][:, 0].tolist()], ["1"] * 33)]


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (
            Metric(
                over_all=fast_area,
                predict=lambda model, batch: (torch.zeros(len(batch[1]), len(batch[1])), batch[1]),
                better="higher",
            ),
            "its predictions have the shape (7, 7) in one batch and (5, 5) in another",
        ),
        (
            Metric(over_all=fast_area, predict=lambda m, b: (m(b[0]).mean(), b[1]), better="lower"),
            "the predictions of a batch are a tensor with one number",
        ),
        (
            Metric(over_all=fast_area, predict=lambda m, b: m(b[0]), better="lower"),
            "`predict` returned a Tensor",
        ),
        (
            Metric(over_all=lambda p, y: p, better="lower"),
            "`over_all` gave a Tensor of shape (33,)",
        ),
    ],
)
def test_what_cannot_be_gathered_is_said_in_one_line(metric: Metric, told: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        measured(regression(metric))

    assert str(caught.value).startswith(f"workload 'scores': metric 'measured': {told}")
