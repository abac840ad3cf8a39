"""The gradients of single examples: every way agrees with one example after the other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from batchlab.measure.gradients import batch_gradient, one_by_one, per_example
from batchlab.workload.definition import Batch, Workload

N = 7


def squared(model: nn.Module, batch: Batch) -> Tensor:
    x, y = batch
    error: Tensor = (model(x).flatten(1) - y).square().sum(dim=1)
    return error.mean()


def workload_of(loss: Callable[[nn.Module, Batch], Tensor] = squared) -> Workload:
    train = (torch.zeros(N, 1),)
    return Workload(name="made up", model=nn.Identity, train=train, validation=None, loss=loss)


def regression(*shape: int, n: int = N) -> Batch:
    stream = torch.Generator().manual_seed(1)
    return torch.randn(n, *shape, generator=stream), torch.randn(n, 1, generator=stream)


def tokens(length: int) -> Batch:
    stream = torch.Generator().manual_seed(2)
    ids = torch.randint(5, (N, length), generator=stream)  # of 5 words: some come twice
    return ids, torch.randn(N, 1, generator=stream)


def vector(module: nn.Module) -> nn.Module:
    """The module, then a mean over all but the first dimension, through a curve."""
    return nn.Sequential(module, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3), nn.Linear(3, 1))


def layers(between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), between, nn.Linear(6, 1))


def frozen() -> nn.Module:
    model = layers(nn.Tanh())
    model[0].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    return model


class Tied(nn.Module):
    """One table in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.scores = nn.Linear(4, 5, bias=False)
        self.scores.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.scores(self.table(ids))[:, :, :1].mean(dim=1)


class Twice(nn.Linear):
    """One layer, used twice."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.tanh(super().forward(x)))[:, :1]


class Forked(nn.Module):
    """By its first number, each example goes through one of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.layers[int(row[0] > 0)](row) for row in x])


class Turned(nn.Linear):
    """As many positions as examples, which come second: the norms would be those of positions."""

    def forward(self, x: Tensor) -> Tensor:
        turned: Tensor = super().forward(x.transpose(0, 1)).transpose(0, 1)
        return turned.square().sum(dim=(1, 2)).unsqueeze(1)


class Keeping(nn.Linear):
    """Keeps an activation."""

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = super().forward(x)
        return self.hidden


MakeModel = Callable[[], nn.Module]
WAYS: dict[str, tuple[MakeModel, Batch, str]] = {
    "linear": (lambda: layers(nn.Tanh()), regression(4), "layers"),
    "short sequence": (lambda: vector(nn.Linear(40, 30)), regression(3, 40), "layers"),
    "long sequence": (lambda: vector(nn.Linear(4, 3)), regression(50, 4), "layers"),
    "convolution": (
        lambda: vector(nn.Conv2d(2, 3, 3, stride=2, padding=1)), regression(2, 8, 8), "layers"
    ),
    "groups": (
        lambda: vector(nn.Conv2d(4, 8, (2, 3), dilation=2, groups=2)), regression(4, 9, 9), "layers"
    ),
    "embedding": (lambda: vector(nn.Embedding(5, 4)), tokens(6), "layers"),
    "sparse": (lambda: vector(nn.Embedding(5, 4, sparse=True)), tokens(4), "layers"),
    "layer norm": (lambda: vector(nn.LayerNorm(4)), regression(3, 4), "layers"),
    "no bias": (lambda: vector(nn.LayerNorm(4, bias=False)), regression(3, 4), "layers"),
    "in place": (lambda: layers(nn.ReLU(inplace=True)), regression(4), "layers"),
    "frozen": (frozen, regression(4), "layers"),
    "keeping": (lambda: Keeping(4, 1), regression(4), "one by one"),
    "tied": (Tied, tokens(4), "one by one"),
    "twice": (lambda: Twice(4, 4), regression(4), "one by one"),
    "transposed": (lambda: vector(nn.ConvTranspose2d(2, 3, 2)), regression(2, 4, 4), "one by one"),
    "data-dependent": (Forked, regression(4), "one by one"),
    "examples second": (lambda: Turned(4, 2), regression(3, 4, n=3), "one by one"),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_norms_from_layers_are_those_of_single_gradients(name: str) -> None:
    make, batch, expected = WAYS[name]
    torch.manual_seed(3)
    model, workload = make(), workload_of()
    model(batch[0])

    way, gradients = per_example(workload, model, batch)

    assert way == expected
    truth = one_by_one(workload, model, batch)
    for one, other in zip(gradients(workload, model, batch), truth, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_packed_sequences_are_taken_one_by_one() -> None:
    def loss(model: nn.Module, batch: Batch) -> Tensor:
        packed, y = batch
        return (model(packed)[1][0] - y).square().mean()

    torch.manual_seed(3)
    model, workload = nn.GRU(3, 1), workload_of(loss)
    sequences, y = [torch.randn(n, 3) for n in (2, 5, 4, 2)], torch.randn(4, 1)

    way, gradients = per_example(workload, model, (pack_sequence(sequences, False), y))

    _, squares = gradients(workload, model, (pack_sequence(sequences, False), y))
    singles = [
        batch_gradient(workload, model, (pack_sequence([sequence]), truth[None]))
        for sequence, truth in zip(sequences, y, strict=True)
    ]
    assert way == "one by one"
    assert squares == pytest.approx([float(one.square().sum()) for one in singles], rel=1e-4)


def contrastive(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]) @ batch[1].T, torch.arange(len(batch[0])))


def of_the_variance(model: nn.Module, batch: Batch) -> Tensor:
    """0 of a single example."""
    return model(batch[0]).var(dim=0, correction=0).mean()


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (layers(nn.BatchNorm1d(6)), squared),
        (nn.Linear(4, 1), contrastive),
        (nn.Linear(4, 1), of_the_variance),
    ],
)
def test_coupled_examples_have_no_gradient_of_their_own(model: nn.Module, loss: Any) -> None:
    assert per_example(workload_of(loss), model, regression(4)) is None


def test_looking_for_a_way_leaves_modes_and_random_streams() -> None:
    model = layers(nn.Dropout())
    model[1].eval()
    before = torch.get_rng_state()

    per_example(workload_of(), model, regression(4))

    assert [module.training for module in model] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), before)
