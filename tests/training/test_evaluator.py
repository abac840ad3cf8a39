"""Evaluator: exact means over whatever batches, and no trace of it in the training."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    cross_entropy,
    small_trial,
    small_workload,
    token_workload,
)
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.records.trial import Split
from batchlab.training import evaluator
from batchlab.training.evaluator import Evaluator, evaluation_batch
from batchlab.training.untouched import untouched_model
from batchlab.workload.definition import Metric, Workload

AT_ONCE = 7  # 20 examples are then evaluated as 7, 7 and 6; 33 as four times 7 and 5


def small(metric: Any = None, **fields: Any) -> Workload:
    metrics = {} if metric is None else {"measured": metric}
    return small_workload(dtype=torch.float64, **({"metrics": metrics} | fields))


def model_of(workload: Workload) -> nn.Module:
    torch.manual_seed(0)
    return workload.model()


def scores_of(workload: Workload, model=None, split="validation") -> dict[str, float | None]:
    splits = Evaluator(workload, torch.device("cpu"), batch_size=AT_ONCE)
    scores = splits.scores(model_of(workload) if model is None else model, (split,))
    return {score.metric: score.value for score in scores}


def measured(workload: Workload, split: Split = "validation") -> float | None:
    scores = scores_of(workload, split=split)
    return scores.get("measured", scores["loss"])


def of_tokens() -> Workload:
    """The mean over a batch is one over its tokens; the last batch is nothing but padding."""
    workload = token_workload(20)
    workload.train[1][14:] = -1
    return replace(workload, validation=workload.train, metrics={})


def of_class_2(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    said, true = model(batch[0]).argmax(1) == 2, batch[1] == 2
    return torch.stack([(said & true).sum(), said.sum(), true.sum()])


def f1_by_hand(model: nn.Module, batch: Sequence[Tensor]) -> float:
    hits, said, true = of_class_2(model, batch).tolist()
    precision, recall = hits / said, hits / true
    return 2 * precision * recall / (precision + recall)


def regression(metric: Any, **fields: Any) -> Workload:
    """33 inputs with repeated values, so that predictions have ties; targets are 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, (33, 2), generator=generator).float()
    y = (torch.rand(33, generator=generator) < 0.4).float()
    workload = Workload(
        name="scores",
        model=lambda: nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).pow(2).mean(),
        metrics={"measured": metric},
        train=(x, y),
        validation=(x + 1, y),
    )
    return replace(workload, **fields)


def fast_area(scores: Tensor, labels: Tensor) -> Tensor:
    """The area under the curve from ranks: what a user would write."""
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    positives = int(labels.sum())
    above = ranks[labels == 1].sum() - positives * (positives + 1) / 2
    return above / (positives * (len(labels) - positives))


def area_of_pairs(model: nn.Module, batch: Sequence[Tensor]) -> float:
    """The share of pairs of a positive and a negative that the score puts in order; ties half."""
    scores, labels = model(batch[0]), batch[1]
    high, low = scores[labels == 1][:, None], scores[labels == 0][None]
    return float(((high > low).double() + 0.5 * (high == low)).mean())


over_all = partial(Metric, over_all=fast_area, better="higher")


@torch.enable_grad()
def forces(model: nn.Module, batch: Any) -> tuple[list[Tensor], Tensor]:
    """Forces from an energy, as a list."""
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return list(slope), batch[0]


@torch.enable_grad()
def residual(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return slope.square().sum() / len(x)


def size_of_forces(predictions: list[Tensor], targets: Tensor) -> Tensor:
    assert not any(force.requires_grad for force in predictions)
    return torch.stack(predictions).square().mean()


def of_texts() -> Workload:
    """All inputs and targets as texts are judged at once, in their order."""
    x, _ = regression(over_all()).validation
    texts = list(map(str, x[:, 0].tolist()))

    def judge(said: list[str], meant: list[str]) -> float:
        return float((said, meant) == (texts, ["1"] * 33))

    def predict(model: nn.Module, batch: Any) -> tuple[list[str], list[str]]:
        return list(map(str, batch[0][:, 0].tolist())), ["1"] * len(batch[1])

    return regression(over_all(over_all=judge, predict=predict))


# What is measured, and the same in words.
SCORES: dict[str, tuple[Callable[[], Workload], Callable[[nn.Module, Any], Any]]] = {
    "a loss of tokens": (of_tokens, of_tokens().loss),
    "3.5 more, where steps of float32 are 8 wide": (
        lambda: small(
            Metric(sum=lambda model, batch: batch[0].sum(), better="lower"),
            validation=(torch.tensor([2.0**24] * 7 + [0.5] * 14),),
            loss=lambda model, batch: batch[0].mean(),
        ),
        lambda *_: (7 * 2.0**24 + 7) / 21,
    ),
    "F1, no mean over batches": (
        lambda: small(Metric(
            sum=of_class_2,
            finalise=lambda total, count: 2 * float(total[0]) / float(total[1] + total[2]),
            better="higher",
        )),
        f1_by_hand,
    ),
    "perplexity by character, two in an example": (
        lambda: small(Metric(
            sum=lambda model, batch: len(batch[1]) * cross_entropy(model, batch),
            count=lambda batch: 2 * len(batch[1]),
            finalise=lambda total, count: float(torch.exp(total / count)),
            better="lower",
        )),
        lambda model, batch: (cross_entropy(model, batch) / 2).exp(),
    ),
    "area": (lambda: regression(over_all()), area_of_pairs),
    "a residual": (lambda: small(loss=residual), residual),
    "forces": (
        lambda: regression(over_all(over_all=size_of_forces, predict=forces)),
        lambda m, _: m[0].weight.square().mean(),
    ),
    "texts": (of_texts, lambda *_: 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_that_of_all_examples_and_no_mean_of_batches(name):
    make, by_hand = SCORES[name]
    workload = make()
    is_double = next(workload.model().parameters()).dtype == torch.float64

    with torch.no_grad():
        expected = float(by_hand(model_of(workload), workload.validation))

    apart = {"rel": 1e-14} if is_double else {"rel": 1e-6, "abs": 1e-5}
    assert measured(workload) == pytest.approx(expected, **apart)


NARROW = {torch.bool: True} | {
    dtype: torch.iinfo(dtype).max for dtype in (torch.uint8, torch.int16, torch.int32)
}


@pytest.mark.parametrize("sums", [
    *(torch.tensor([largest], dtype=dtype) for dtype, largest in NARROW.items()),
    *(torch.tensor(value) for value in (float("nan"), float("inf"), -float("inf"))),
])  # fmt: skip
def test_a_sum_may_leave_the_range_of_its_type_and_what_is_not_finite_is_none(sums):
    """A mean of three batches."""
    scores = scores_of(small(Metric(sum=lambda *_: sums, count=lambda _: 1, better="higher")))

    assert scores["measured"] == (float(sums) if sums.isfinite() else None)
    assert scores["loss"] is not None


def test_of_a_large_training_set_a_fixed_part_is_evaluated(monkeypatch):
    monkeypatch.setattr(evaluator, "TRAIN_EXAMPLES_EVALUATED", 10)
    seen: list[float] = []

    def watch(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        seen.extend(batch[0].tolist())
        return batch[0].mean()

    workload = small(train=(torch.arange(40, dtype=torch.float64),), loss=watch)

    for _ in range(2):
        scores_of(workload, split="train")

    assert seen[:10] == seen[10:]
    assert len(set(seen)) == 10
    assert max(seen) > 10  # not simply the first ones


@pytest.mark.parametrize(("reference", "at_once"), [(1, 64), (16, 64), (64, 256), (4096, 1000)])
def test_all_batch_sizes_are_evaluated_with_one_batch_size(reference, at_once):
    trials = [small_trial(small_workload(n=4096), batch_size=size) for size in (1, 64, 4096)]

    sizes = {evaluation_batch(trial, reference_batch_size=reference) for trial in trials}

    assert sizes == {at_once}


class MeanAbsolute:
    """What torchmetrics' objects are like: fed by batch, emptied, asked."""

    higher_is_better: bool | None = False

    def __init__(self) -> None:
        self.total, self.n = 100.0, 100  # what somebody's own loop has left in it

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        self.total += float((predictions - targets).abs().sum())
        self.n += len(targets)

    def compute(self) -> Tensor:
        return torch.tensor(self.total / self.n)

    def reset(self) -> None:
        self.total, self.n = 0.0, 0


class Undirected(MeanAbsolute):
    higher_is_better = None


def test_an_object_that_is_fed_by_batch_is_taken_as_it_is_and_left_as_it_was():
    metric = MeanAbsolute()
    workload = regression(metric)
    wrapped = regression(Metric(over_all=Undirected(), better="lower"))
    x, y = workload.validation

    values = [measured(each) for each in (workload, workload, wrapped)]

    expected = float((model_of(workload)(x) - y).abs().mean().detach())
    assert values == [pytest.approx(expected)] * 3
    assert (metric.total, metric.n) == (100.0, 100)
    assert workload.better("measured") == "lower"


def divided_in_place(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    batch[0].div_(2)
    return batch[0].mean()


def of_one_class(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    raise ValueError("one class only")


def judged(**fields: Any) -> Workload:
    return regression(over_all(**fields))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: regression(Undirected()), "metric 'measured' does not say whether higher"),
    (lambda: Metric(over_all=fast_area), "a batchlab.Metric has better=None"),
    (lambda: Metric(better="higher"), "has neither of sum and over_all"),
    (lambda: over_all(sum=fast_area), "a batchlab.Metric has both of sum and over_all"),
    (lambda: Metric(better="higher", sum=fast_area, predict=fast_area),
     "a batchlab.Metric has predict without over_all"),
    (lambda: Metric(better="higher", over_all=3), "a batchlab.Metric has over_all=3"),
    (lambda: small(Metric(sum=divided_in_place, better="lower")),
     "writes into the examples of validation"),
    (lambda: small(Metric(sum=of_one_class, better="higher")),
     "metric 'measured' of validation raised ValueError: one class only .*over_all="),
    (lambda: judged(predict=lambda m, b: (torch.zeros(len(b[1]), len(b[1])), b[1])),
     "metric 'measured' of validation raised RuntimeError: Sizes of tensors must match"),
    (lambda: judged(predict=lambda m, b: m(b[0])), "'measured' of validation raised ValueError"),
    (lambda: regression(over_all(), validation=(torch.zeros(9, 2),), loss=lambda m, b: b[0][0]),
     "'measured': the batch is no pair of inputs and targets but a tuple of 1"),
    (lambda: judged(over_all=lambda p, y: p), "'measured' of validation raised "),
])  # fmt: skip
def test_what_cannot_be_evaluated_is_said_in_one_line(make, message):
    with pytest.raises(WorkloadError, match=message) as refused:
        measured(make())
    assert "\n" not in str(refused.value)


# ---- no trace in the training


def test_what_is_random_in_a_metric_is_the_same_each_time():
    """A loss with random masks: two evaluations differ by the model alone."""
    workload = small_workload(
        loss=lambda model, batch: (model(batch[0]) * torch.rand(len(batch[0]), 1)).mean(),
        metrics={},
    )
    model = model_of(workload)
    torch.manual_seed(1)
    first = scores_of(workload, model)
    torch.rand(3)

    assert scores_of(workload, model) == first
    assert "forward" not in vars(model)


class Stateful(nn.Module):
    """Every pass, an evaluation's too, goes into a buffer, which goes into the next pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)
        self.frozen = nn.BatchNorm1d(CLASSES).eval()
        self.register_buffer("state", torch.zeros(CLASSES))
        self.register_buffer("hidden", None)

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(x) + self.state
        self.hidden = self.state = 0.5 * output.mean(0).detach()
        return output


def test_modes_buffers_and_gradients_come_back_as_they_were_after_an_exception_too():
    model = Stateful()
    model.layer(torch.ones(2, FEATURES)).sum().backward()
    gradient, state, stream = model.layer.weight.grad, model.state, random.getstate()
    assert gradient is not None
    before = gradient.clone(), state.clone()

    def look() -> None:
        with untouched_model(model):
            assert (model.training, torch.is_grad_enabled()) == (False, False)
            assert model.layer.weight.grad is None
            with torch.enable_grad():
                model(torch.ones(2, FEATURES)).sum().backward()
            state.add_(7)
            model.register_buffer("other", torch.ones(1))
            random.random()
            raise ZeroDivisionError

    model.train().frozen.eval()
    with pytest.raises(ZeroDivisionError):
        look()

    assert model.layer.weight.grad is gradient
    assert model.state is state
    assert all(map(torch.equal, (gradient, state), before))
    assert model.hidden is None
    assert "other" not in dict(model.named_buffers())
    assert random.getstate() == stream
    assert (model.training, model.layer.training, model.frozen.training) == (True, True, False)
