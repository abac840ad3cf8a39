"""Losses that are means over few units: known labels, positives, tokens that are asked for."""

from collections import UserDict
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference.accumulated_workloads import (
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

from batchlab.measure.accumulation import look_at_loss
from batchlab.measure.check import check_workload
from batchlab.workload.data import n_examples
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import live_workload

CPU = torch.device("cpu")
N, CLASSES = 400, 4


def rarely(share: float, *shape: int) -> Tensor:
    draws = torch.rand(*shape, generator=torch.Generator().manual_seed(3))
    return draws < share


X, CLASS = numbers(N, 6), whole_numbers(CLASSES, N)
IS_RARE = rarely(0.05, N)


def known_of(batch: Batch) -> Tensor:
    return ~batch[1].isnan()


def over_known(model: nn.Module, batch: Batch) -> Tensor:
    known = known_of(batch)
    return F.binary_cross_entropy_with_logits(model(batch[0])[known], batch[1].to(batch[0])[known])


def missing_labels() -> Workload:
    y = (numbers(N, CLASSES, seed=1) > 0).float()
    y[~rarely(0.2, N, CLASSES)] = float("nan")
    return vectors(loss=over_known, train=(X, y), weight=lambda batch: float(known_of(batch).sum()))


def positives() -> Workload:
    """Of boxes, say: nothing is asked of the others, and the loss is 0 where there are none."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        off = (model(batch[0]) - 1).square().sum(dim=1)
        return (off * batch[1]).sum() / batch[1].sum().clamp(min=1)

    return vectors(loss=loss, train=(X, IS_RARE.int()), weight=lambda b: float(b[1].sum()))


def ignored_labels() -> Workload:
    labels = torch.where(IS_RARE, CLASS, -100)
    return vectors(train=(X, labels), weight=lambda batch: float((batch[1] != -100).sum()))


class Encoding(UserDict[str, Tensor]):
    """A mapping that moves itself to a device, as a tokenizer gives it."""

    def to(self, device: torch.device) -> Self:
        return self


def masked_words() -> Workload:
    """A masked language model whose `collate` draws the masks, as few as one in a sentence."""
    draws = np.random.default_rng(0)  # which no seed of batchlab's reaches

    def collate(rows: list[Batch]) -> Batch:
        (ids,) = default_collate(rows)
        asked = torch.from_numpy(draws.random(ids.shape)) < 0.1
        return Encoding(ids=torch.where(asked, 0, ids), labels=torch.where(asked, ids, -100))

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        scores = model(batch["ids"])
        return F.cross_entropy(scores.transpose(1, 2), batch["labels"])

    return words(
        loss=loss,
        train=TensorDataset(1 + whole_numbers(11, N, 9)),
        collate=collate,
        weight=lambda b: float((b["labels"] != -100).sum()),
    )


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


def padding() -> Workload:
    """Sentences, most of which are empty."""
    (ids,) = words().train
    return words(train=(torch.where(rarely(0.1, len(ids))[:, None], ids, 0),))


def pairs() -> Workload:
    """Metric learning, say: the loss is 0 unless two examples of a batch are of one class."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        apart = torch.cdist(found := model(batch[0]), found)
        return (apart * (batch[1][:, None] == batch[1])).sum()

    return vectors(loss=loss, train=(X, whole_numbers(60, N)))


KINDS: dict[str, Callable[[], Workload]] = {
    "missing labels": missing_labels,
    "positives": positives,
    "ignored labels": ignored_labels,
    "masked words": masked_words,
    "padding": padding,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_over_few_units_is_told_as_one(kind: str) -> None:
    workload = KINDS[kind]()

    counted = accumulation_of(workload)
    uncounted = accumulation_of(replace(workload, weight=None))
    miscounted = accumulation_of(replace(workload, weight=n_examples))

    assert counted.findings == ()
    assert [each.cause for each in uncounted.findings] == ["weight"]
    assert [each.cause for each in miscounted.findings] == ["weight"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_of_few_units_begins_with_what_there_is_to_know(kind: str) -> None:
    workload = KINDS[kind]()

    counted = look_at_loss(workload, workload.model(), CPU)
    uncounted = look_at_loss(replace(workload, weight=None), workload.model(), CPU)

    assert not counted.loss_couples
    assert not uncounted.loss_couples
    is_told = [any("`weight`" in text for text in each.warnings) for each in (counted, uncounted)]
    assert is_told == [False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_is_not_blamed_for_examples_without_a_unit(kind: str) -> None:
    packed = Unpacked(live_workload(KINDS[kind](), {}).workload)

    known = check_workload(None, packed, "cpu", made_up_summary())

    assert not any("its optimizer" in text for text in known.warnings)


def test_batch_normalization_hides_no_missing_units() -> None:
    def normalized() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 4))

    workload = replace(missing_labels(), model=normalized, weight=None)

    found = accumulation_of(workload)

    assert [each.cause for each in found.findings] == ["batch_norm", "weight"]


def masks_of_the_loss() -> Workload:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        asked = torch.where(torch.rand(batch[0].shape) < 0.15, batch[0], -100)
        return F.cross_entropy(model(batch[0]).transpose(1, 2), asked)

    return words(Reader, loss=loss, weight=None, train=(1 + whole_numbers(11, N, 9),))


@pytest.mark.parametrize(
    ("workload", "place"), [(masks_of_the_loss(), "`loss`"), (sampled_neighbors(), "`collate`")]
)
def test_what_draws_differs_by_chance_and_is_named(workload: Workload, place: str) -> None:
    (finding,) = accumulation_of(workload).findings
    known = check_workload(None, Unpacked(workload), "cpu", made_up_summary())

    assert (finding.cause, finding.where, finding.by_chance) == ("random", place, True)
    assert not known.loss_couples


def test_an_example_that_is_no_number_is_no_missing_unit() -> None:
    x = X.clone()
    x[:, 0] = float("nan")

    seen = look_at_loss(vectors(train=(x, CLASS)), nn.Linear(6, 4), CPU)

    (warning,) = seen.warnings
    assert "the untrained model's loss on the first examples is nan" in warning


def test_a_loss_over_pairs_is_looked_at_where_there_are_some() -> None:
    assert [finding.cause for finding in accumulation_of(pairs()).findings] == ["coupled"]
