"""The check of accumulation: faults are found and named, and sound workloads pass."""

from collections import UserDict
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference.accumulated_workloads import (
    FAULTS,
    SOUND,
    Reader,
    accumulation_of,
    numbers,
    vectors,
    whole_numbers,
    words,
)
from tests.reference.made_up_study import made_up_summary
from tests.reference.small_workloads import Unpacked
from torch import Tensor, nn
from torch.utils.data import TensorDataset, default_collate

from batchlab.errors import WorkloadError
from batchlab.measure.check import check_workload
from batchlab.records.study import WorkloadSummary
from batchlab.workload.data import n_examples
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload

Make = Callable[[], Workload]


def causes(workload: Workload) -> list[str]:
    return [finding.cause for finding in accumulation_of(workload).findings]


def summary_of(workload: Workload) -> WorkloadSummary:
    return check_workload(None, Unpacked(workload), "cpu", made_up_summary())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SOUND)
def test_a_fault_is_found_and_named_with_its_place(name: str, fault: str) -> None:
    broken, cause, place = FAULTS[fault]

    accumulation = accumulation_of(broken(SOUND[name]()))

    (finding,) = accumulation.findings
    assert finding.cause == cause
    assert place in finding.where
    assert accumulation.equal == (cause == "random")
    assert finding.size is None or finding.size > 1e-4


def layers(first: nn.Module, *between: nn.Module) -> nn.Module:
    return nn.Sequential(first, *between, nn.ReLU(), nn.Linear(10, 4))


class AlwaysEvaluated(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


def zeros() -> nn.Module:
    model = layers(nn.Linear(6, 10))
    nn.init.zeros_(model[2].weight)
    return model


def zeros_after_clipped_layer() -> nn.Module:
    model = zeros()
    model[0].weight.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))
    return model


CLASS_WEIGHTS = torch.tensor([1.0, 5.0, 0.5, 2.0])


def weighted_classes(model: nn.Module, batch: Batch) -> Tensor:
    scores = model(batch[0])
    return F.cross_entropy(scores, batch[1], weight=CLASS_WEIGHTS.to(scores))


class InHalf(nn.Module):
    """Computes in bfloat16, whatever it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.layer.weight.bfloat16(), self.layer.bias.bfloat16()
        return F.linear(x.bfloat16(), weight, bias).to(x)


DICTIONARY = {
    "train": [{"x": x, "y": y} for x, y in zip(numbers(60, 6), whole_numbers(4, 60), strict=True)],
    "loss": lambda model, batch: F.cross_entropy(model(batch["x"]), batch["y"]),
}
CORRECT: dict[str, Make] = {
    **SOUND,
    "frozen layer": lambda: vectors(lambda: layers(nn.Linear(6, 10).requires_grad_(False))),
    "frozen batch normalization": lambda: vectors(
        lambda: layers(nn.Linear(6, 10), AlwaysEvaluated(10))
    ),
    "layer of zeros": lambda: vectors(zeros),
    "classes with weights": lambda: vectors(
        loss=weighted_classes, weight=lambda batch: float(CLASS_WEIGHTS[batch[1]].sum())
    ),
    "dictionary": lambda: vectors(**DICTIONARY),
    "three examples": lambda: vectors(train=(numbers(3, 6), whole_numbers(4, 3))),
    "bfloat16 inside": lambda: vectors(InHalf),
    "mnist-mlp": lambda: loaded_workload("mnist-mlp", {}).workload,
    "moby-dick": lambda: loaded_workload("moby-dick", {}).workload,
}


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_workload_passes(name: str) -> None:
    accumulation = accumulation_of(CORRECT[name]())

    assert accumulation.findings == ()
    assert accumulation.equal
    assert accumulation.rounding < 0.02


def test_a_loss_that_is_not_finite_is_refused_in_a_line() -> None:
    workload = vectors(loss=lambda model, batch: model(batch[0]).sum() * float("nan"))

    with pytest.raises(WorkloadError, match="has length nan near the initial weights"):
        accumulation_of(workload)


# Losses that are means over few units: known labels, positives, tokens that are predicted.

N, CLASSES = 400, 4


def rarely(share: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3)) < share


X, CLASS = numbers(N, 6), whole_numbers(CLASSES, N)
IS_RARE = rarely(0.05, N)


def missing_labels() -> Workload:
    y = (numbers(N, CLASSES, seed=1) > 0).float()
    y[~rarely(0.2, N, CLASSES)] = float("nan")

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        known = ~y.isnan()
        return F.binary_cross_entropy_with_logits(model(x)[known], y.to(x)[known])

    return vectors(loss=loss, train=(X, y), weight=lambda b: float((~b[1].isnan()).sum()))


def positives() -> Workload:
    """Of boxes, say: the others do not count, and the loss is 0 if there are none."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        off = (model(batch[0]) - 1).square().sum(dim=1)
        return (off * batch[1]).sum() / batch[1].sum().clamp(min=1)

    return vectors(loss=loss, train=(X, IS_RARE.int()), weight=lambda b: float(b[1].sum()))


def ignored_labels() -> Workload:
    labels = torch.where(IS_RARE, CLASS, -100)
    return vectors(train=(X, labels), weight=lambda b: float((b[1] != -100).sum()))


class Encoding(UserDict[str, Tensor]):
    """A mapping that moves itself to a device, as a tokenizer gives it."""

    def to(self, device: torch.device) -> Self:
        return self


def masked_words() -> Workload:
    """A masked language model whose `collate` draws the masks, as few as one in a sentence."""
    draws = np.random.default_rng(0)  # which no seed of batchlab's reaches

    def collate(rows: list[Batch]) -> Batch:
        (ids,) = default_collate(rows)
        is_masked = torch.from_numpy(draws.random(ids.shape)) < 0.1
        return Encoding(
            ids=torch.where(is_masked, 0, ids), labels=torch.where(is_masked, ids, -100)
        )

    return words(
        loss=lambda model, b: F.cross_entropy(model(b["ids"]).transpose(1, 2), b["labels"]),
        train=TensorDataset(1 + whole_numbers(11, N, 9)),
        collate=collate,
        weight=lambda b: float((b["labels"] != -100).sum()),
    )


def padding() -> Workload:
    """Sentences, most of which are empty."""
    (ids,) = words().train
    return words(train=(torch.where(rarely(0.1, len(ids))[:, None], ids, 0),))


FEW_UNITS: dict[str, Make] = {
    "missing labels": missing_labels,
    "positives": positives,
    "ignored labels": ignored_labels,
    "masked words": masked_words,
    "padding": padding,
}


@pytest.mark.parametrize("kind", FEW_UNITS)
def test_a_mean_over_few_units_asks_for_their_weight_and_is_not_coupled(kind: str) -> None:
    workload = FEW_UNITS[kind]()
    unweighted = replace(workload, weight=None)

    assert causes(workload) == []
    assert causes(unweighted) == causes(replace(workload, weight=n_examples)) == ["weight"]
    summaries = summary_of(workload), summary_of(unweighted)
    assert not any(summary.loss_couples for summary in summaries)
    # No optimizer is blamed for examples without a unit.
    assert not any("its optimizer" in text for text in summaries[0].warnings)
    assert ["`weight`" in " ".join(summary.warnings) for summary in summaries] == [False, True]


def several_faults() -> Workload:
    broken = vectors()
    for fault in ("dropout layer", "running mean", "sum"):
        broken = FAULTS[fault][0](broken)
    return broken


def pairs() -> Workload:
    """Metric learning, say: the loss is 0 unless two examples of a batch are of one class."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        scores = model(batch[0])
        return (torch.cdist(scores, scores) * (batch[1][:, None] == batch[1])).sum()

    return vectors(loss=loss, train=(X, whole_numbers(60, N)))


HIDDEN: dict[str, tuple[Make, list[str]]] = {
    "behind dropout and a running mean": (several_faults, ["random", "sum"]),
    "behind batch normalization": (
        lambda: replace(
            missing_labels(),
            model=lambda: layers(nn.Linear(6, 10), nn.BatchNorm1d(10)),
            weight=None,
        ),
        ["batch_norm", "weight"],
    ),
    "before a layer of zeros": (lambda: vectors(zeros_after_clipped_layer), ["coupled"]),
    "only if a batch has a pair": (pairs, ["coupled"]),
}


@pytest.mark.parametrize("where", HIDDEN)
def test_no_fault_hides_behind_another_thing(where: str) -> None:
    make, expected = HIDDEN[where]

    assert causes(make()) == expected


def masks_of_the_loss() -> Workload:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        labels = torch.where(torch.rand(batch[0].shape) < 0.15, batch[0], -100)
        return F.cross_entropy(model(batch[0]).transpose(1, 2), labels)

    return words(Reader, loss=loss, weight=None, train=(1 + whole_numbers(11, N, 9),))


def sampled_neighbors() -> Workload:
    """Nodes of a graph, each with a neighbor that `collate` draws; a batch cannot be cut."""
    links = whole_numbers(N, N, 5)

    def collate(nodes: list[Batch]) -> Batch:
        n, (own,) = len(nodes), default_collate(nodes)
        both = torch.cat([own, links[own, torch.randint(5, (n,))]])
        reached, place = both.unique(return_inverse=True)
        return {"x": X[reached], "own": place[:n], "other": place[n:], "y": CLASS[own]}

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        x = batch["x"]
        return F.cross_entropy(model(x[batch["own"]] + x[batch["other"]]), batch["y"])

    return vectors(
        loss=loss,
        train=TensorDataset(torch.arange(N)),
        collate=collate,
        weight=lambda b: len(b["y"]),
    )


@pytest.mark.parametrize(
    ("make", "place"), [(masks_of_the_loss, "`loss`"), (sampled_neighbors, "`collate`")]
)
def test_what_draws_differs_by_chance_and_is_named(make: Make, place: str) -> None:
    (finding,) = accumulation_of(make()).findings

    assert (finding.cause, finding.where, finding.by_chance) == ("random", place, True)
    assert not summary_of(make()).loss_couples
