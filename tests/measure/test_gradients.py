"""The gradients of single examples: every way agrees with one example after the other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from batchlab.measure.gradients import Gradients, batch_gradient, one_by_one, per_example
from batchlab.workload.definition import Batch, Workload

N = 7


def workload_of(
    model: Callable[[], nn.Module], loss: Callable[[nn.Module, Batch], Tensor], **fields: Any
) -> Workload:
    return Workload(
        name="made up", model=model, train=(torch.zeros(N, 1),), validation=None, loss=loss,
        **fields,
    )  # fmt: skip


def squared(model: nn.Module, batch: Batch) -> Tensor:
    x, y = batch
    error: Tensor = (model(x).flatten(1) - y).square().sum(dim=1)
    return error.mean()


def regression(*shape: int) -> Batch:
    stream = torch.Generator().manual_seed(1)
    return torch.randn(N, *shape, generator=stream), torch.randn(N, 1, generator=stream)


def tokens(length: int) -> Batch:
    stream = torch.Generator().manual_seed(2)
    ids = torch.randint(5, (N, length), generator=stream)  # of 5 words: some come twice
    return ids, torch.randn(N, 1, generator=stream)


def vector(module: nn.Module) -> nn.Module:
    """The module, then a mean over all but the first dimension, through a curve."""
    return nn.Sequential(module, nn.Tanh(), nn.Flatten(), nn.LazyLinear(3), nn.Linear(3, 1))


def initialised(model: nn.Module, batch: Batch) -> nn.Module:
    torch.manual_seed(3)
    model.double() if batch[0].dtype == torch.float64 else model
    model(batch[0])
    return model


class Tied(nn.Module):
    """One table in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.scores = nn.Linear(4, 5, bias=False)
        self.scores.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.table(ids))
        return scores[:, :, :1].mean(dim=1)


class Twice(nn.Module):
    """One layer, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(torch.tanh(self.layer(x)))
        return y[:, :1]


class Forked(nn.Module):
    """Which way it goes depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """By its first number, each example goes through one of two layers."""
        parts = [self.layers[int(row[0] > 0)](row) for row in x]
        return torch.stack(parts)


def in_place() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 1))


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    model[0].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    return model


LAYERS: dict[str, tuple[Callable[[], nn.Module], Batch]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)), regression(4)),
    "short sequence": (lambda: vector(nn.Linear(40, 30)), regression(3, 40)),
    "long sequence": (lambda: vector(nn.Linear(4, 3)), regression(50, 4)),
    "convolution": (lambda: vector(nn.Conv2d(2, 3, 3, stride=2, padding=1)), regression(2, 8, 8)),
    "groups": (lambda: vector(nn.Conv2d(4, 8, (2, 3), dilation=2, groups=2)), regression(4, 9, 9)),
    "embedding": (lambda: vector(nn.Embedding(5, 4)), tokens(6)),
    "layer norm": (lambda: vector(nn.LayerNorm(4)), regression(3, 4)),
    "no bias of layer norm": (lambda: vector(nn.LayerNorm(4, bias=False)), regression(3, 4)),
    "in place": (in_place, regression(4)),
    "frozen": (frozen, regression(4)),
}
OTHERS: dict[str, tuple[Callable[[], nn.Module], Batch, str]] = {
    "tied": (Tied, tokens(4), "one by one"),
    "twice": (Twice, regression(4), "one by one"),
    "transposed": (lambda: vector(nn.ConvTranspose2d(2, 3, 2)), regression(2, 4, 4), "one by one"),
    "sparse": (lambda: vector(nn.Embedding(5, 4, sparse=True)), tokens(4), "layers"),
    "data-dependent": (Forked, regression(4), "one by one"),
}


def close(found: Gradients, truth: Gradients) -> bool:
    return all(
        torch.allclose(one, other, rtol=1e-4, atol=1e-6)
        for one, other in zip(found, truth, strict=True)
    )


WAYS = {**{name: (*given, "layers") for name, given in LAYERS.items()}, **OTHERS}


@pytest.mark.parametrize("name", WAYS)
def test_norms_from_layers_are_those_of_single_gradients(name: str) -> None:
    make, batch, expected = WAYS[name]
    model, workload = initialised(make(), batch), workload_of(make, squared)

    way, gradients = per_example(workload, model, batch)

    assert way == expected
    assert close(gradients(workload, model, batch), one_by_one(workload, model, batch))


def contrastive(model: nn.Module, batch: Batch) -> Tensor:
    x, y = batch
    return F.cross_entropy(model(x) @ y.T, torch.arange(len(x)))


def of_the_variance(model: nn.Module, batch: Batch) -> Tensor:
    """0 of a single example."""
    return model(batch[0]).var(dim=0, correction=0).mean()


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)), squared),
        (lambda: nn.Linear(4, 1), contrastive),
        (lambda: nn.Linear(4, 1), of_the_variance),
    ],
)
def test_coupled_examples_have_no_gradient_of_their_own(
    make: Callable[[], nn.Module], loss: Callable[[nn.Module, Batch], Tensor]
) -> None:
    assert per_example(workload_of(make, loss), make(), regression(4)) is None


def test_batch_first_is_not_taken_for_granted() -> None:
    """As many positions as examples: the norms would be those of positions."""

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            turned: Tensor = self.layer(x.transpose(0, 1)).transpose(0, 1)
            return turned.square().sum(dim=(1, 2)).unsqueeze(1)

    x, y = regression(3, 4)
    batch = (x[:3], y[:3])
    model = Turned()
    workload = workload_of(Turned, squared)

    way = per_example(workload, model, batch)

    assert way[0] == "one by one"


def of_sequences(model: nn.Module, batch: Batch) -> Tensor:
    packed, y = batch
    return (model(packed)[1][0] - y).square().mean()


def test_packed_sequences_are_taken_one_by_one() -> None:
    torch.manual_seed(3)
    model, workload = nn.GRU(3, 1), workload_of(nn.Identity, of_sequences)
    sequences, y = [torch.randn(n, 3) for n in (2, 5, 4, 2)], torch.randn(4, 1)

    way, gradients = per_example(workload, model, (pack_sequence(sequences, False), y))

    _, squares = gradients(workload, model, (pack_sequence(sequences, False), y))
    alone = [
        batch_gradient(workload, model, (pack_sequence([sequence]), truth[None]))
        for sequence, truth in zip(sequences, y, strict=True)
    ]
    assert way == "one by one"
    assert squares == pytest.approx([float(one.square().sum()) for one in alone], rel=1e-4)


def test_a_model_that_keeps_an_activation_has_gradients_of_single_examples() -> None:
    class Keeps(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.hidden = super().forward(x)
            return self.hidden

    model, batch = Keeps(4, 1), regression(4)
    model(batch[0])

    assert per_example(workload_of(nn.Identity, squared), model, batch) is not None


def test_looking_for_a_way_leaves_modes_and_random_streams() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(), nn.Linear(3, 1))
    model[1].eval()
    before = torch.get_rng_state()

    per_example(workload_of(nn.Identity, squared), model, regression(4))

    assert [module.training for module in model] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), before)
