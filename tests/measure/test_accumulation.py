"""The check of accumulation and of the loss: faults are found and named, sound workloads pass."""

from collections import UserDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

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
from tests.reference.small_workloads import Unpacked, cross_entropy
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset, default_collate

from batchlab.errors import WorkloadError
from batchlab.measure.accumulation import look_at_loss
from batchlab.measure.check import check_workload
from batchlab.records.study import WorkloadSummary
from batchlab.workload.data import n_examples
from batchlab.workload.definition import Batch, Workload

Make = Callable[[], Workload]


def causes(workload: Workload) -> list[str]:
    return [finding.cause for finding in accumulation_of(workload).findings]


def summary_of(workload: Workload) -> WorkloadSummary:
    return check_workload(None, Unpacked(workload), "cpu", made_up_summary())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SOUND)
def test_a_fault_is_found_and_named_with_its_place(name, fault):
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


class InHalf(nn.Module):
    """Computes in bfloat16, whatever it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4, dtype=torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.layer.weight.bfloat16(), self.layer.bias.bfloat16()
        return F.linear(x.bfloat16(), weight, bias).to(x)


CORRECT: dict[str, Make] = {
    **SOUND,
    "frozen layer": lambda: vectors(lambda: layers(nn.Linear(6, 10).requires_grad_(False))),
    "frozen batch normalization": lambda: vectors(
        lambda: layers(nn.Linear(6, 10), AlwaysEvaluated(10))
    ),
    "layer of zeros": lambda: vectors(zeros),
    "three examples": lambda: vectors(train=(numbers(3, 6), whole_numbers(4, 3))),
    "bfloat16 inside": lambda: vectors(InHalf),
}


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_workload_passes(name):
    accumulation = accumulation_of(CORRECT[name]())

    assert accumulation.findings == ()
    assert accumulation.equal


def test_a_loss_that_is_not_finite_is_refused_in_a_line():
    workload = vectors(loss=lambda model, batch: model(batch[0]).sum() * float("nan"))

    with pytest.raises(WorkloadError, match="has length nan near the initial weights"):
        accumulation_of(workload)


# Losses that are means over few units: known labels, positives, tokens that are predicted.

N, CLASSES = 400, 4

X, CLASS = numbers(N, 6), whole_numbers(CLASSES, N)
IS_RARE = torch.rand(N, generator=torch.Generator().manual_seed(3)) < 0.05


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


FEW_UNITS: dict[str, Make] = {
    "positives": positives,
    "ignored labels": ignored_labels,
    "masked words": masked_words,
}


@pytest.mark.parametrize("kind", FEW_UNITS)
def test_a_mean_over_few_units_asks_for_their_weight_and_is_not_coupled(kind):
    workload = FEW_UNITS[kind]()
    unweighted = replace(workload, weight=None)

    assert causes(workload) == []
    assert causes(unweighted) == causes(replace(workload, weight=n_examples)) == ["weight"]
    summaries = summary_of(workload), summary_of(unweighted)
    assert not any(summary.loss_couples for summary in summaries)
    # No optimizer is blamed for examples without a unit.
    assert not any("its optimizer" in text for text in summaries[0].warnings)
    assert ["`weight`" in " ".join(summary.warnings) for summary in summaries] == [False, True]


def pairs() -> Workload:
    """Metric learning, say: the loss is 0 unless two examples of a batch are of one class."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        scores = model(batch[0])
        return (torch.cdist(scores, scores) * (batch[1][:, None] == batch[1])).sum()

    return vectors(loss=loss, train=(X, whole_numbers(60, N)))


HIDDEN: dict[str, tuple[Make, list[str]]] = {
    "behind dropout and a running mean": (
        lambda: FAULTS["sum"][0](FAULTS["running mean"][0](FAULTS["dropout layer"][0](vectors()))),
        ["random", "sum"],
    ),
    "behind batch normalization": (
        lambda: FAULTS["batch normalization"][0](replace(ignored_labels(), weight=None)),
        ["batch_norm", "weight"],
    ),
    "before a layer of zeros": (lambda: vectors(zeros_after_clipped_layer), ["coupled"]),
    "only if a batch has a pair": (pairs, ["coupled"]),
}


@pytest.mark.parametrize("where", HIDDEN)
def test_no_fault_hides_behind_another_thing(where):
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
def test_what_draws_differs_by_chance_and_is_named(make, place):
    (finding,) = accumulation_of(make()).findings

    assert (finding.cause, finding.where, finding.by_chance) == ("random", place, True)
    assert not summary_of(make()).loss_couples


# Which losses are means over their examples, and which are sums, or couple the examples


Loss = Callable[[nn.Module, Any], Tensor]
Fields = Callable[[int], dict[str, Any]]


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(24, 6, generator=generator), torch.randint(3, (24,), generator=generator)


def classes(seed: int, n_classes: int) -> tuple[Tensor, Tensor]:
    """Examples that are sorted by their class."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(400, 6, generator=generator)
    labels = torch.randint(n_classes, (400,), generator=generator)
    return x, labels.sort().values


def seen(*, seed: int = 0, **fields: Any) -> tuple[str | None, bool]:
    torch.manual_seed(seed)
    usual = {"loss": cross_entropy, "model": lambda: nn.Linear(6, 3), "train": data(seed)}
    workload = Workload(name="looked at", validation=None, learning_rate=0.1, **(usual | fields))
    return look_at_loss(workload, workload.model(), torch.device("cpu"))


def mlp(dtype: torch.dtype = torch.float32) -> nn.Module:
    layers = [nn.Linear(6, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 3)]
    return nn.Sequential(*layers).to(dtype)


def coarse(dtype: torch.dtype, reduction: str = "mean") -> dict[str, Any]:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        scores = model(batch[0].to(dtype))[:, 0]
        return F.mse_loss(scores, batch[1].to(dtype), reduction=reduction)

    return {"loss": loss, "model": lambda: mlp(dtype)}


def autocast(model: nn.Module, batch: Any) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.mse_loss(model(batch[0])[:, 0], batch[1].bfloat16()).float()


def with_a_penalty(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model, batch) + sum(part.square().sum() for part in model.parameters())


@torch.enable_grad()
def differentiating(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return (slope.sum(1) - 1).square().mean()


def noisy(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model, (batch[0] + 0.5 * torch.randn(len(batch[0]), 6), batch[1]))


class Drawing(Dataset[Any]):
    """Draws its examples at random."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.randn(6), place % 3


# How often each is looked at, with the data and the weights of how many seeds.
SINGLE: dict[str, tuple[int, Fields]] = {
    "bfloat16": (10, lambda seed: coarse(torch.bfloat16)),
    "float16": (10, lambda seed: coarse(torch.float16)),
    "autocast": (10, lambda seed: {"loss": autocast, "model": mlp}),
    "sorted": (20, lambda seed: {"train": classes(seed, 3)}),
    "a data set that draws": (1, lambda seed: {"train": Drawing()}),
    "a mean with a penalty": (1, lambda seed: {"loss": with_a_penalty}),
    "one that differentiates": (1, lambda seed: {"loss": differentiating, "model": mlp}),
    "noise": (5, lambda seed: {"loss": noisy}),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SINGLE)
def test_a_loss_of_single_examples_is_never_called_coupled(name):
    n_seeds, fields = SINGLE[name]

    assert {seen(seed=seed, **fields(seed)) for seed in range(n_seeds)} == {(None, False)}


def pairwise(model: nn.Module, batch: Any) -> Tensor:
    """A smooth area under the curve: each positive example against each negative one."""
    scores = model(batch[0])[:, 0]
    above, below = scores[batch[1] == 1], scores[batch[1] != 1]
    apart = F.relu(1 - (above[:, None] - below[None, :])).sum()
    return apart / max(1, len(above) * len(below)) + 0 * scores.sum()


def of_both_classes(model: nn.Module, batch: Any) -> Tensor:
    scores = model(batch[0])[:, 0]
    return F.relu(1 - scores[batch[1] == 1].min() + scores[batch[1] == 0].max())


def coarse_contrast(model: nn.Module, batch: Any) -> Tensor:
    scores = F.normalize(model(batch[0].bfloat16()), dim=1)
    return F.cross_entropy(scores @ scores.T * 5, torch.arange(len(scores)))


def random_contrast(model: nn.Module, batch: Any) -> Tensor:
    one, other = (model(batch[0] + 0.1 * torch.randn(len(batch[0]), 6)) for _ in range(2))
    return F.cross_entropy(one @ other.T, torch.arange(len(one)))


def drawn_pairs(rows: Any) -> Any:
    x = torch.stack([x for x, _ in rows])
    one, other = (x + 0.1 * torch.randn_like(x) for _ in range(2))
    return one, other, torch.arange(len(x))  # no piece of a batch has such numbers


DRAWN_PAIRS = {
    "loss": lambda model, batch: F.cross_entropy(model(batch[0]) @ model(batch[1]).T, batch[2]),
    "collate": drawn_pairs,
    "train": [*zip(*data(0), strict=True)],
    "model": mlp,
}
COUPLED: dict[str, tuple[int, Fields]] = {
    "classes": (20, lambda seed: {"loss": pairwise, "train": classes(seed, 2)}),
    "needs both classes": (
        1, lambda seed: {"loss": of_both_classes, "train": classes(0, 2)}
    ),
    "coarse": (1, lambda seed: {"loss": coarse_contrast, "model": lambda: mlp(torch.bfloat16)}),
    "random": (5, lambda seed: {"loss": random_contrast, "model": mlp}),
    "pairs that collate draws": (3, lambda seed: DRAWN_PAIRS),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", COUPLED)
def test_a_contrastive_loss_is_called_coupled(name):
    n_seeds, fields = COUPLED[name]

    n_coupled = sum(seen(seed=seed, **fields(seed))[1] for seed in range(n_seeds))

    assert n_coupled >= 0.95 * n_seeds


def penalized_sum(penalty: float) -> Loss:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        summed = F.cross_entropy(model(batch[0]), batch[1], reduction="sum")
        return summed + penalty * sum(part.square().sum() for part in model.parameters())

    return loss


SUMS: dict[str, dict[str, Any]] = {
    "of a data set": {"loss": penalized_sum(0.0), "train": TensorDataset(*data())},
    "divided": {"loss": lambda model, batch: model(batch[0]).square().sum() / 1000},
    "coarse": coarse(torch.bfloat16, "sum"),
    "random": {"loss": lambda model, batch: len(batch[0]) * noisy(model, batch)},
    **{f"penalty {scale}": {"loss": penalized_sum(scale)} for scale in (1e-3, 0.1, 10.0)},
}


def column_and_row(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    return model(batch[0])[:, :1], batch[1].float()


SLIPS: dict[str, dict[str, Any]] = {
    "PyTorch warns of": {"loss": lambda *given: F.mse_loss(*column_and_row(*given))},
    "by hand": {"loss": lambda *given: torch.sub(*column_and_row(*given)).square().mean()},
    "other way": {"loss": lambda m, b: F.mse_loss(m(b[0])[:, 0], b[1][:, None].float())},
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", [*SUMS, *SLIPS])
def test_a_sum_or_a_slip_of_shapes_is_refused_as_what_it_is(name):
    text = "The loss is a sum over the batch"
    if name in SLIPS:
        text = "compares each prediction with every target"

    with pytest.raises(WorkloadError, match=text):
        seen(**(SUMS | SLIPS)[name])
