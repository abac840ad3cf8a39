"""Gradients of single examples and samples of them: right where the truth is known, no trace."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference.by_day import by_day
from tests.reference.noise_scale import population
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from batchlab.errors import WorkloadError
from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.gradient_noise import GradientNoise, preconditioner
from batchlab.measure.gradients import batch_gradient, one_by_one, per_example
from batchlab.measure.noise import NoisePoint
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload

CPU = torch.device("cpu")
Problem = tuple[Workload, nn.Module, float, float]


@pytest.fixture(scope="module")
def least_squares() -> Problem:
    """A linear regression on 2,000 examples, its model, tr Sigma and |G|^2 (formulas, 4)."""
    workload = loaded_workload("least-squares", {"n": "2000"}).workload
    model = workload.model()
    x, y = workload.train
    residual = (model(x).squeeze(1) - y).detach()
    mean = x.T @ residual / len(x)
    grad_sq = float(mean @ mean)
    trace = float((residual.square() * x.square().sum(dim=1)).mean()) - grad_sq
    return workload, model, trace, grad_sq


@pytest.mark.slow
@pytest.mark.parametrize("n_repeated", by_day([200, 500], [200]))
def test_estimates_are_unbiased_and_cover_where_the_truth_has_a_closed_form(
    n_repeated: int, least_squares: Problem
) -> None:
    workload, model, trace, grad_sq = least_squares
    noise = GradientNoise(workload, CPU)

    samples = [noise_scale(noise.sample(model, seed=seed).sample) for seed in range(n_repeated)]

    for estimates, truth in (
        ([sample.trace for sample in samples], trace),
        ([sample.grad_sq for sample in samples], grad_sq),
    ):
        values = [known.estimate for known in estimates if known.estimate is not None]
        assert abs(np.mean(values) - truth) < 4 * np.std(values, ddof=1) / n_repeated**0.5
    held = [sample.scale.holds(trace / grad_sq) for sample in samples]
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.parametrize("most_blocks", [64, 8])
def test_all_examples_give_the_truth_itself_however_they_are_put_together(
    most_blocks, monkeypatch, least_squares
) -> None:
    workload, model, trace, grad_sq = least_squares
    monkeypatch.setattr("batchlab.measure.gradient_noise._MOST_BLOCKS", most_blocks)

    point = GradientNoise(workload, CPU).sample(model, seed=3, precision=0.0)

    scale = noise_scale(point.sample).scale
    assert len(point.sample.block_examples) <= most_blocks
    assert point.sample.n_examples == 2000
    assert scale.estimate == pytest.approx(trace / grad_sq, rel=1e-9)
    assert scale.low == pytest.approx(scale.high, rel=1e-7)  # the root of what rounding leaves
    # Asked to end it ends with enough blocks for an interval.
    ended = GradientNoise(workload, CPU).sample(model, seed=0, until_s=0.0).sample
    assert len(ended.block_examples) == 8
    assert noise_scale(ended).scale.holds(trace / grad_sq)


def small(make: Callable[[], nn.Module], *, n: int = 203, **fields: Any) -> Workload:
    stream = torch.Generator().manual_seed(1)
    x = torch.randn(203, 4, generator=stream)
    y = x.sum(dim=1, keepdim=True) + 0.5 * torch.randn(203, 1, generator=stream)
    usual = {
        "loss": lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        "train": (x[:n], y[:n]),
    }
    return Workload(name="small", model=make, validation=None, batch_size=16, **(usual | fields))


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(), nn.Linear(6, 1))


def linear() -> nn.Module:
    return nn.Linear(4, 1)


def sampled(make: Callable[[], nn.Module], workload: Workload, **given: Any) -> NoisePoint:
    torch.manual_seed(0)
    return GradientNoise(workload, CPU).sample(make(), seed=0, **given)


def test_batch_normalization_is_measured_by_micro_batches_of_the_reference() -> None:
    point = sampled(with_batch_norm, small(with_batch_norm), per_layer=True)

    assert point.way == "micro-batches"
    assert point.sample.unit_examples == 16
    assert point.sample.n_examples == 192  # 203 without those that fill no micro-batch
    assert noise_scale(point.sample).scale.estimate is not None
    # What each parameter adds sums up to the whole.
    names = [name for name, _ in with_batch_norm().named_parameters()]
    assert [layer.name for layer in point.layers] == names
    whole = noise_scale(point.sample.by_blocks)
    for quantity in ("trace", "grad_sq"):
        sum_of_layers = sum(getattr(layer.estimates, quantity).estimate for layer in point.layers)
        assert sum_of_layers == pytest.approx(getattr(whole, quantity).estimate, rel=1e-5)


def test_where_gradients_are_drawn_anew_there_is_no_end_of_them() -> None:
    point = sampled(with_dropout, small(with_dropout), precision=0.0)

    assert point.sample.n_examples == 203
    assert point.sample.n_train is None
    scale = noise_scale(point.sample).scale
    assert scale.low < scale.high
    assert point.layers == ()


@pytest.mark.parametrize("make", [with_batch_norm, with_dropout])
def test_a_sample_leaves_model_gradients_and_random_streams_as_they_were(make: Any) -> None:
    workload, model = small(make), make()
    model[-1].eval()
    workload.loss(model, workload.train).backward()
    before, stream = copy.deepcopy(model), torch.get_rng_state()
    gradients = [weights.grad for weights in model.parameters()]
    values = copy.deepcopy(gradients)

    GradientNoise(workload, CPU).sample(model, seed=0)

    assert all(map(torch.equal, model.state_dict().values(), before.state_dict().values()))
    assert all(now.grad is was for now, was in zip(model.parameters(), gradients, strict=True))
    assert all(map(torch.equal, gradients, values))
    assert torch.equal(torch.get_rng_state(), stream)
    assert [part.training for part in model] == [part.training for part in before]


def test_unlike_weights_give_the_gradient_of_the_weighted_mean() -> None:
    """Examples count by how many of their numbers are above 0, block by block and together."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        counts = (x > 0).sum(dim=1)
        return ((model(x) - y).square().squeeze(1) * counts).sum() / counts.sum()

    workload = small(linear, loss=loss, weight=lambda batch: float((batch[0] > 0).sum()))
    torch.manual_seed(0)
    model = linear()
    counts = (workload.train[0] > 0).sum(dim=1)
    gradients = torch.zeros(203, 5)
    for place in counts.nonzero().flatten():  # the others have no weight, so no loss of their own
        single = tuple(column[place : place + 1] for column in workload.train)
        gradients[place] = batch_gradient(workload, model, single) * counts[place]
    trace, grad_sq = population((gradients * 203 / counts.sum()).tolist())
    assert (counts == 0).any()

    point = sampled(linear, workload, precision=0.0)

    estimates = noise_scale(point.sample)
    assert point.way == "layers"
    assert estimates.grad_sq.estimate == pytest.approx(grad_sq, rel=1e-3)
    assert estimates.trace.estimate == pytest.approx(trace, rel=1e-3)


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam])
def test_adams_preconditioner_is_what_its_step_divides_by(make: Any) -> None:
    torch.manual_seed(0)
    model, workload = linear(), small(linear, n=192)  # blocks of 16
    optimizer = make(model.parameters(), lr=0.1, betas=(0.0, 0.9), eps=1e-3)
    assert preconditioner(optimizer) is None
    assert preconditioner(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)) is None
    for _ in range(3):
        optimizer.zero_grad()
        workload.loss(model, workload.train).backward()
        optimizer.step()

    scales = preconditioner(optimizer)

    squares = optimizer.state[model.weight]["exp_avg_sq"] / (1 - 0.9**3)
    assert torch.allclose(scales[:4], (1 / (squares.sqrt() + 1e-3)).flatten())
    assert scales.shape == (5,)
    noise = GradientNoise(workload, CPU)
    point = noise.sample(model, seed=0, optimizer=optimizer, precision=0.0)
    rescaled = batch_gradient(workload, model, workload.train) * scales
    assert np.mean(point.rescaled.products) == pytest.approx(float(rescaled.square().sum()))


def test_what_has_no_noise_is_refused_in_a_line() -> None:
    workload = small(linear)
    broken = replace(workload, loss=lambda model, batch: workload.loss(model, batch) / 0)

    with pytest.raises(WorkloadError, match=r"gradient of its loss on the first 16 .* not finite"):
        sampled(linear, broken)
    with pytest.raises(WorkloadError, match=r"training set has 2 examples; .* at least 3"):
        GradientNoise(small(linear, n=2), CPU)


# The gradients of single examples: every way agrees with one example after the other


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
