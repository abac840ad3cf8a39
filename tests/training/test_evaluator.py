"""Evaluator: exact means over whatever batches, and no trace of it in the training."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    Everything,
    accuracy,
    cross_entropy,
    small_trial,
    small_workload,
)
from torch import Tensor, nn
from torch.nn import functional

from batchlab.errors import WorkloadError
from batchlab.records.run import AllSplits, RunLength
from batchlab.records.trial import Split
from batchlab.training.evaluator import Evaluator, evaluation_batch
from batchlab.training.untouched import untouched_model
from batchlab.workload.definition import Metric, Workload
from batchlab.workload.loading import live_workload

ALL: tuple[Split, ...] = ("train", "validation", "test")
AT_ONCE = 7  # 20 examples are then evaluated as 7, 7 and 6; 33 as four times 7 and 5


def small(**fields: Any) -> Workload:
    return replace(small_workload(dtype=torch.float64), **fields)


def with_metric(metric: Any, **fields: Any) -> Workload:
    return small(metrics={"measured": metric}, **fields)


def model_of(workload: Workload) -> nn.Module:
    torch.manual_seed(0)
    return workload.model()


def scores_of(
    workload: Workload,
    model: nn.Module | None = None,
    splits: tuple[Split, ...] = ALL,
    **settings: int,
) -> dict[tuple[str, str], float | None]:
    evaluator = Evaluator(workload, torch.device("cpu"), batch_size=AT_ONCE, **settings)
    scores = evaluator.scores(model_of(workload) if model is None else model, splits)
    return {(score.split, score.metric): score.value for score in scores}


def measured(workload: Workload, split: Split = "validation") -> float | None:
    return scores_of(workload, splits=(split,))[split, "measured"]


class TestMeans:
    def test_ragged_batches_give_the_mean_over_all_examples(self) -> None:
        workload = small()
        model = model_of(workload)

        scores = scores_of(workload, model)

        for split in ALL:
            x, labels = getattr(workload, split)
            with torch.no_grad():
                logits = model(x)
            right = [int(logits[i].argmax()) == int(labels[i]) for i in range(len(x))]
            losses = [-float(logits[i].log_softmax(0)[labels[i]]) for i in range(len(x))]
            assert scores[split, "accuracy"] == pytest.approx(sum(right) / len(x), rel=1e-14)
            assert scores[split, "loss"] == pytest.approx(sum(losses) / len(x), rel=1e-14)

    def test_tokens_and_not_sequences_weigh(self) -> None:
        """Padded sequences: the mean over a batch is one over its tokens."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(20, 5, FEATURES, dtype=torch.float64, generator=generator)
        labels = torch.randint(CLASSES, (20, 5), generator=generator)
        labels[torch.arange(5) >= torch.randint(0, 6, (20, 1), generator=generator)] = -1
        labels[14:] = -1  # the last batch is nothing but padding

        def token_loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
            logits = model(batch[0]).flatten(0, 1)
            return functional.cross_entropy(logits, batch[1].flatten(), ignore_index=-1)

        workload = small(
            validation=(x, labels),
            loss=token_loss,
            metrics={},
            weight=lambda batch: (batch[1] != -1).sum(),
        )
        model = model_of(workload)

        with torch.no_grad():
            expected = pytest.approx(float(token_loss(model, (x, labels))), rel=1e-14)
        assert scores_of(workload, model, ("validation",)) == {("validation", "loss"): expected}

    def test_sums_of_small_floats_lose_nothing(self) -> None:
        """3.5 more make no difference to 7 x 2^24 in float32, where steps are 8 wide."""
        numbers = torch.tensor([2.0**24] * 7 + [0.5] * 14)
        workload = with_metric(
            Metric(sum=lambda model, batch: batch[0].sum(), better="lower"),
            validation=(numbers,),
            loss=lambda model, batch: batch[0].mean(),
        )

        assert measured(workload) == (7 * 2.0**24 + 7) / 21

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_what_is_not_a_finite_number_is_none(self, value: float) -> None:
        metric = Metric(sum=lambda model, batch: torch.tensor(value), better="higher")

        scores = scores_of(with_metric(metric))

        assert scores["validation", "measured"] is None
        assert scores["validation", "loss"] is not None


def of_class_2(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    said, true = model(batch[0]).argmax(1) == 2, batch[1] == 2
    return torch.stack([(said & true).sum(), said.sum(), true.sum()])


def f1_by_hand(model: nn.Module, x: Tensor, labels: Tensor) -> float:
    said = model(x).argmax(1)
    hits = sum(int(a) == int(b) == 2 for a, b in zip(said, labels, strict=True))
    precision, recall = hits / int((said == 2).sum()), hits / int((labels == 2).sum())
    return 2 * precision * recall / (precision + recall)


def of_narrow_numbers(dtype: torch.dtype) -> tuple[Metric, Callable[..., float]]:
    """A mean of three batches, whose sum is not in the range of the type."""
    largest = 1 if dtype == torch.bool else torch.iinfo(dtype).max
    sums = torch.tensor([largest], dtype=dtype)
    metric = Metric(sum=lambda model, batch: sums, count=lambda batch: 1, better="higher")
    return metric, lambda *_: largest


# A metric of sums, and the same in words.
OF_SUMS: dict[str, tuple[Metric, Callable[[nn.Module, Tensor, Tensor], float]]] = {
    "F1, no mean over batches": (
        Metric(
            sum=of_class_2,
            finalise=lambda total, count: 2 * float(total[0]) / float(total[1] + total[2]),
            better="higher",
        ),
        f1_by_hand,
    ),
    "perplexity by character, two in an example": (
        Metric(
            sum=lambda model, batch: len(batch[1]) * cross_entropy(model, batch),
            count=lambda batch: 2 * len(batch[1]),
            finalise=lambda total, count: float(torch.exp(total / count)),
            better="lower",
        ),
        lambda model, x, labels: np.exp(float(cross_entropy(model, (x, labels)).detach()) / 2),
    ),
    **{
        str(dtype): of_narrow_numbers(dtype)
        for dtype in (torch.bool, torch.uint8, torch.int16, torch.int32)
    },
}


@pytest.mark.parametrize("name", OF_SUMS)
def test_a_metric_of_sums_is_finalised_once_over_all(name: str) -> None:
    metric, by_hand = OF_SUMS[name]
    workload = with_metric(metric)

    expected = by_hand(model_of(workload), *workload.validation)

    assert measured(workload) == pytest.approx(expected, rel=1e-14)


def test_of_a_large_training_set_a_fixed_part_is_evaluated() -> None:
    seen: list[float] = []

    def watch(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        seen.extend(batch[0].tolist())
        return batch[0].mean()

    workload = small(train=(torch.arange(40, dtype=torch.float64),), loss=watch, metrics={})

    for _ in range(2):
        scores_of(workload, splits=("train",), most_train_examples=10)

    assert len(seen) == 20
    assert seen[:10] == seen[10:]
    assert len(set(seen)) == 10
    assert max(seen) > 10  # not simply the first ones


@pytest.mark.parametrize(("reference", "at_once"), [(1, 64), (16, 64), (64, 256), (4096, 1000)])
def test_all_batch_sizes_are_evaluated_with_one_batch_size(reference: int, at_once: int) -> None:
    trials = [small_trial(small_workload(n=4096), batch_size=size) for size in (1, 64, 4096)]

    sizes = {evaluation_batch(trial, reference_batch_size=reference) for trial in trials}

    assert sizes == {at_once}


def test_a_loss_that_couples_examples_is_one_function_for_all_batch_sizes() -> None:
    """Of an untrained model it is the same number, whatever batch size it is to be trained at."""
    workload = small_workload(n=300)
    coupling = replace(
        workload,
        loss=lambda model, batch: cross_entropy(model, (batch[0] - batch[0].mean(0), batch[1])),
        validation=workload.train,
    )

    losses = set()
    for size in (2, 10, 300):
        run = run_engine(coupling, small_trial(coupling, batch_size=size), RunLength(steps=1))
        losses.add(run.evaluations[0].score("validation", "loss"))

    assert len(losses) == 1


def residual(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    return slope.square().sum()


def test_a_loss_and_a_metric_that_asks_have_gradients_beside_one_that_does_not() -> None:
    asking = Metric(sum=residual, better="lower", enable_grad=True)
    workload = replace(
        small_workload(),
        loss=lambda model, batch: residual(model, batch) / len(batch[0]),
        metrics={"accuracy": accuracy, "residual": asking},
    )
    model = workload.model()

    scores = scores_of(workload, model)
    loss_alone = scores_of(replace(workload, metrics={}), model)["validation", "loss"]

    expected = float(residual(model, workload.validation) / len(workload.validation[0]))
    assert scores["validation", "residual"] == pytest.approx(expected)
    assert scores["validation", "loss"] == loss_alone == pytest.approx(expected)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_memory_that_runs_out_in_a_loss_is_not_tried_again() -> None:
    batches = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        batches.append(batch)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        scores_of(small(loss=loss, metrics={}))
    assert len(batches) == 1


# ---- metrics of a whole split


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
    negatives = len(labels) - positives
    above = ranks[labels == 1].sum() - positives * (positives + 1) / 2
    return above / (positives * negatives)


def area_of_pairs(scores: Tensor, labels: Tensor) -> float:
    """The share of pairs of a positive and a negative that the score puts in order; ties half."""
    high, low = scores[labels == 1][:, None], scores[labels == 0][None]
    return float(((high > low).double() + 0.5 * (high == low)).mean())


over_all = partial(Metric, over_all=fast_area, better="higher")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_metric_over_all_is_that_of_all_examples_and_no_mean_of_batches(split: Split) -> None:
    workload = regression(over_all())
    x, y = getattr(workload, split)

    expected = area_of_pairs(model_of(workload)(x), y)

    assert measured(workload, split) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("as_list", [False, True])
def test_a_prediction_may_differentiate_and_what_is_gathered_holds_no_graph(as_list: bool) -> None:
    """Forces from an energy."""

    def forces(model: nn.Module, batch: Any) -> tuple[Any, Any]:
        x = batch[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return (list(slope) if as_list else slope), batch[0]

    def size(predictions: Any, targets: Tensor) -> Tensor:
        assert not any(force.requires_grad for force in predictions)
        return torch.stack(list(predictions)).square().mean()

    workload = regression(over_all(over_all=size, predict=forces, enable_grad=True))

    expected = float(model_of(workload)[0].weight.detach().square().mean())
    assert measured(workload) == pytest.approx(expected)


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


def test_an_object_that_is_fed_by_batch_is_taken_as_it_is_and_left_as_it_was() -> None:
    metric = MeanAbsolute()
    workload = regression(metric)
    x, y = workload.validation

    values = [measured(workload), measured(workload)]

    expected = float((model_of(workload)(x) - y).abs().mean().detach())
    assert values == [pytest.approx(expected)] * 2
    assert (metric.total, metric.n) == (100.0, 100)
    assert workload.better("measured") == "lower"
    wrapped = regression(Metric(over_all=Undirected(), better="lower"))
    assert measured(wrapped) == values[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(regression, Undirected()), "wrap it: batchlab.Metric(over_all=Undirected"),
        (partial(Metric, over_all=fast_area), "a batchlab.Metric has no direction"),
        (partial(Metric, better="higher"), "has neither of sum and over_all"),
        (partial(over_all, sum=fast_area), "a batchlab.Metric has both of sum and over_all"),
        (
            partial(Metric, better="higher", sum=fast_area, predict=fast_area),
            "a batchlab.Metric has predict without over_all",
        ),
        (partial(Metric, better="higher", over_all=3), "a batchlab.Metric has over_all=3"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_when_it_is_made(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(WorkloadError) as refused:
        make()

    assert message in str(refused.value)


def test_predictions_of_a_batch_of_dicts_are_told_by_predict() -> None:
    workload = regression(over_all())
    x, y = workload.validation
    named = regression(
        over_all(predict=lambda model, batch: (model(batch["x"]), batch["y"])),
        train={"x": x - 1, "y": y.clone()},
        validation={"x": x, "y": y},
        loss=lambda model, batch: model(batch["x"]).mean(),
    )

    assert measured(live_workload(named, {}).workload) == measured(workload)


def test_texts_are_gathered_as_lists() -> None:
    gathered: list[Any] = []

    def judge(said: list[str], meant: list[str]) -> float:
        gathered.append((said, meant))
        return 0.5

    def predict(model: nn.Module, batch: Any) -> tuple[list[str], list[str]]:
        return list(map(str, batch[0][:, 0].tolist())), ["1"] * len(batch[1])

    workload = regression(over_all(over_all=judge, predict=predict))

    assert measured(workload) == 0.5
    assert gathered == [(list(map(str, workload.validation[0][:, 0].tolist())), ["1"] * 33)]


def divided_in_place(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    batch[0].div_(2)
    return batch[0].mean()


def of_one_class(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    raise ValueError("one class only")


def shapes_that_differ(model: nn.Module, batch: Any) -> Any:
    return torch.zeros(len(batch[1]), len(batch[1])), batch[1]


REFUSED: dict[str, tuple[Workload, str]] = {
    "a word for data": (
        small(validation="split"),
        "workload 'small': validation='split' stands for data that are not",
    ),
    "writes": (
        with_metric(Metric(sum=divided_in_place, better="lower")),
        "writes into the examples of validation",
    ),
    "raises": (
        with_metric(Metric(sum=of_one_class, better="higher")),
        "metric 'measured' of validation raised ValueError: one class only .*over_all=",
    ),
    "other shapes": (
        regression(over_all(predict=shapes_that_differ)),
        r"'measured': its predictions have the shape \(7, 7\) in one batch and \(5, 5\) in another",
    ),
    "one number": (
        regression(over_all(predict=lambda m, b: (m(b[0]).mean(), b[1]))),
        "'measured': the predictions of a batch are a tensor with one number",
    ),
    "no pair": (
        regression(over_all(predict=lambda m, b: m(b[0]))),
        "'measured': `predict` returned a Tensor",
    ),
    "no pair to predict": (
        regression(over_all(), validation=(torch.zeros(9, 2),), loss=lambda m, b: b[0].mean()),
        "'measured': the batch is no pair of inputs and targets but a tuple of 1",
    ),
    "many numbers": (
        regression(over_all(over_all=lambda p, y: p)),
        r"'measured': `over_all` gave a Tensor of shape \(33,\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_evaluated_is_said_in_one_line(name: str) -> None:
    workload, message = REFUSED[name]

    with pytest.raises(WorkloadError, match=message) as refused:
        measured(workload)
    assert "\n" not in str(refused.value)


# ---- no trace in the training


def test_it_leaves_parameters_buffers_gradients_and_modes_alone() -> None:
    modes: set[tuple[bool, bool]] = set()

    def watched_loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        modes.add((model.training, torch.is_grad_enabled()))
        return cross_entropy(model, batch)

    workload = replace(small_workload(), model=Everything, loss=watched_loss)
    model = model_of(workload)
    cross_entropy(model, workload.train).backward()
    model.norm.eval()  # a layer that the user keeps frozen
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    centre = model.centre.clone()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]

    scores_of(workload, model)

    assert modes == {(False, False)}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model.centre, centre)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
    assert (model.training, model.dropout.training, model.norm.training) == (True, True, False)
    assert "forward" not in vars(model)


def test_what_is_random_in_a_metric_is_the_same_each_time() -> None:
    """A loss with random masks: two evaluations differ by the model alone."""
    workload = replace(
        small_workload(),
        loss=lambda model, batch: (model(batch[0]) * torch.rand(len(batch[0]), 1)).mean(),
        metrics={},
    )
    model = model_of(workload)
    torch.manual_seed(1)
    first = scores_of(workload, model)
    torch.rand(3)

    assert scores_of(workload, model) == first


class Stateful(nn.Module):
    """Every pass, an evaluation's too, goes into a buffer, which goes into the next pass."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("state", torch.zeros(CLASSES))
        self.register_buffer("hidden", None)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        output = self.layer(x) + self.state
        moved = 0.5 * output.mean(0).detach()
        self.hidden = moved
        if self.in_place:
            self.state.copy_(moved)
        else:
            self.state = moved
        return output


def gradient_norm(model: nn.Module, batch: Any) -> Tensor:
    cross_entropy(model, batch).backward()
    return torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()


def zeroing_at_its_end(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    loss = cross_entropy(model, batch)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss


@pytest.mark.parametrize(
    "fields",
    [
        {"model": partial(Stateful, in_place=False)},
        {"model": partial(Stateful, in_place=True)},
        {
            "step": zeroing_at_its_end,
            "metrics": {"norm": Metric(sum=gradient_norm, better="lower", enable_grad=True)},
        },
    ],
)
def test_a_model_with_a_state_trains_the_same_however_it_is_evaluated(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    workload = replace(small_workload(), **fields)

    def trained(all_splits: AllSplits, **changes: Any) -> dict[str, Tensor]:
        length, watched = RunLength(steps=15, all_splits=all_splits), replace(workload, **changes)
        trial, path = small_trial(workload, batch_size=8), tmp_path / all_splits
        return run_engine(watched, trial, length, checkpoint=path).parameters()

    expected = trained("never", metrics={"accuracy": accuracy})

    parameters = trained("on_the_way")
    assert expected.keys() == parameters.keys()
    assert all(torch.equal(tensor, parameters[name]) for name, tensor in expected.items())


def test_buffers_and_gradients_come_back_as_the_very_tensors_after_an_exception_too() -> None:
    model = Stateful(in_place=False)
    model.layer(torch.ones(2, FEATURES)).sum().backward()
    gradient, state, stream = model.layer.weight.grad, model.state, random.getstate()
    assert gradient is not None
    before = gradient.clone(), state.clone()

    def look() -> None:
        with untouched_model(model), torch.enable_grad():
            assert model.layer.weight.grad is None
            model(torch.ones(2, FEATURES)).sum().backward()
            state.add_(7)
            model.register_buffer("other", torch.ones(1))
            random.random()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()

    assert model.layer.weight.grad is gradient
    assert model.state is state
    assert all(map(torch.equal, (gradient, state), before))
    assert model.hidden is None
    assert "other" not in dict(model.named_buffers())
    assert random.getstate() == stream
    assert model.training
