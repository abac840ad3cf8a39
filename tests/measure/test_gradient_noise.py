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

from batchlab.errors import WorkloadError
from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.gradient_noise import sample_gradients
from batchlab.measure.gradients import batch_gradient, is_known, own_parameters, squared_norms
from batchlab.records.noise import GradientSample
from batchlab.training.accumulator import cut
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import load_workload

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def least_squares():
    """A linear regression on 2,000 examples, its model, tr Sigma and |G|^2 (formulas, 4)."""
    workload = load_workload("least-squares", {"n": "2000"}).workload
    model = workload.model()
    x, y = workload.train
    residual = (model(x).squeeze(1) - y).detach()
    mean = x.T @ residual / len(x)
    grad_sq = float(mean @ mean)
    trace = float((residual.square() * x.square().sum(dim=1)).mean()) - grad_sq
    return workload, model, trace, grad_sq


@pytest.fixture
def all_examples(monkeypatch):
    """Sample until no examples are left."""
    monkeypatch.setattr("batchlab.measure.gradient_noise.PRECISION", 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("n_repeated", by_day([200, 500], [200]))
def test_estimates_are_unbiased_and_cover_where_the_truth_has_a_closed_form(
    n_repeated, least_squares
):
    workload, model, trace, grad_sq = least_squares

    samples = [
        noise_scale(sample_gradients(workload, model, CPU, seed=seed)) for seed in range(n_repeated)
    ]

    for estimates, truth in (
        ([sample.trace for sample in samples], trace),
        ([sample.grad_sq for sample in samples], grad_sq),
    ):
        values = [known.estimate for known in estimates if known.estimate is not None]
        assert abs(np.mean(values) - truth) < 4 * np.std(values, ddof=1) / n_repeated**0.5
    held = [sample.scale.holds(trace / grad_sq) for sample in samples]
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.usefixtures("all_examples")
@pytest.mark.parametrize("most_blocks", [64, 8])
def test_all_examples_give_the_gradient_itself(most_blocks, monkeypatch, least_squares):
    workload, model, trace, grad_sq = least_squares
    monkeypatch.setattr("batchlab.measure.gradient_noise._MOST_BLOCKS", most_blocks)

    sample = sample_gradients(workload, model, CPU, seed=3)

    estimates = noise_scale(sample)
    assert sample.n_blocks < most_blocks
    assert 2000 - sample.block_examples < sample.n_examples <= 2000
    assert estimates.grad_sq.holds(grad_sq)
    assert estimates.scale.holds(trace / grad_sq)
    # Asked to end it ends with enough blocks for an interval.
    ended = sample_gradients(workload, model, CPU, seed=0, until_s=0.0)
    assert ended.n_blocks == 8
    assert noise_scale(ended).scale.holds(trace / grad_sq)


def small(make: Callable[[], nn.Module], *, n: int = 203, **fields: Any) -> Workload:
    stream = torch.Generator().manual_seed(1)
    x = torch.randn(203, 4, generator=stream)
    y = x.sum(dim=1, keepdim=True) + 0.5 * torch.randn(203, 1, generator=stream)
    usual = {
        "loss": lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        "train": (x[:n], y[:n]),
        "batch_size": 16,
    }
    return Workload(name="small", model=make, validation=None, **(usual | fields))


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(), nn.Linear(6, 1))


def linear() -> nn.Module:
    return nn.Linear(4, 1)


def sampled(make: Callable[[], nn.Module], workload: Workload) -> GradientSample:
    torch.manual_seed(0)
    return sample_gradients(workload, make(), CPU, seed=0)


def contrastive(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]) @ batch[0].T, torch.arange(len(batch[0])))


@pytest.mark.parametrize(
    ("make", "fields"), [(with_batch_norm, {}), (lambda: nn.Linear(4, 4), {"loss": contrastive})]
)
def test_coupled_examples_are_measured_in_batches_of_the_reference(make, fields):
    sizes = set()

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        sizes.add(len(batch[0]))
        return workload.loss(model, batch)

    workload = small(make, batch_size=20, **fields)

    sample = sample_gradients(replace(workload, loss=loss), make(), CPU, seed=0)

    assert sizes - {8, 16} == {20}  # after a look at 16 examples and their halves
    assert sample.n_examples == 200  # 203 without those that fill no batch
    assert noise_scale(sample).trace.estimate is not None


@pytest.mark.usefixtures("all_examples")
def test_where_gradients_are_drawn_anew_there_is_no_end_of_them():
    sample = sampled(with_dropout, small(with_dropout))

    assert sample.n_examples == 192
    assert sample.n_train is None


@pytest.mark.parametrize("make", [with_batch_norm, with_dropout])
def test_a_sample_leaves_model_gradients_and_random_streams_as_they_were(make):
    workload, model = small(make), make()
    model[-1].eval()
    workload.loss(model, workload.train).backward()
    before, stream = copy.deepcopy(model), torch.get_rng_state()
    gradients = [weights.grad for weights in model.parameters()]
    values = copy.deepcopy(gradients)

    sample_gradients(workload, model, CPU, seed=0)

    assert all(map(torch.equal, model.state_dict().values(), before.state_dict().values()))
    assert all(now.grad is was for now, was in zip(model.parameters(), gradients, strict=True))
    assert all(map(torch.equal, gradients, values))
    assert torch.equal(torch.get_rng_state(), stream)
    assert [part.training for part in model] == [part.training for part in before]


@pytest.mark.usefixtures("all_examples")
def test_unlike_weights_give_the_gradient_of_the_weighted_mean():
    """Examples count by how many of their numbers are above 0, block by block and together."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        counts = (x > 0).sum(dim=1)
        return ((model(x) - y).square().squeeze(1) * counts).sum() / counts.sum()

    def weight(batch: Batch) -> float:
        return float((batch[0] > 0).sum())

    workload = small(linear, n=192, loss=loss, weight=weight)  # twelve blocks of 16
    torch.manual_seed(0)
    model = linear()
    counts = (workload.train[0] > 0).sum(dim=1)
    gradients = torch.zeros(192, 5)
    for place in counts.nonzero().flatten():  # the others have no weight, so no loss of their own
        single = tuple(column[place : place + 1] for column in workload.train)
        gradients[place] = batch_gradient(workload, model, single) * counts[place]
    trace, grad_sq = population((gradients * 192 / counts.sum()).tolist())
    assert (counts == 0).any()

    sample = sampled(linear, workload)

    estimates = noise_scale(sample)
    assert np.mean(sample.products) == pytest.approx(grad_sq, rel=1e-3)
    assert estimates.trace.holds(trace)


def test_two_examples_have_no_noise():
    with pytest.raises(WorkloadError, match=r"training set has 2 examples; .* at least 3"):
        sampled(linear, small(linear, n=2))


# The norms of single examples' gradients, from layers


N = 7


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


def layers(between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), between, nn.Linear(6, 1))


def frozen() -> nn.Module:
    model = layers(nn.Tanh())
    model[0].weight.requires_grad_(False)
    model[2].bias.requires_grad_(False)
    return model


LAYERS: dict[str, tuple[Callable[[], nn.Module], Batch]] = {
    "linear": (lambda: layers(nn.Tanh()), regression(4)),
    "short sequence": (lambda: vector(nn.Linear(40, 30)), regression(3, 40)),
    "long sequence": (lambda: vector(nn.Linear(4, 3)), regression(50, 4)),
    "convolution": (
        lambda: vector(nn.Conv2d(2, 3, 3, stride=2, padding=1)), regression(2, 8, 8)
    ),
    "groups": (
        lambda: vector(nn.Conv2d(4, 8, (2, 3), dilation=2, groups=2)), regression(4, 9, 9)
    ),
    "embedding": (lambda: vector(nn.Embedding(5, 4)), tokens(6)),
    "sparse": (lambda: vector(nn.Embedding(5, 4, sparse=True)), tokens(4)),
    "layer norm": (lambda: vector(nn.LayerNorm(4)), regression(3, 4)),
    "no bias": (lambda: vector(nn.LayerNorm(4, bias=False)), regression(3, 4)),
    "in place": (lambda: layers(nn.ReLU(inplace=True)), regression(4)),
    "frozen": (frozen, regression(4)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_norms_from_layers_are_those_of_single_gradients(name):
    make, batch = LAYERS[name]
    torch.manual_seed(3)
    model, workload = make(), small(make, loss=squared)
    model(batch[0])
    singles = [batch_gradient(workload, model, single) for single in cut(batch, 1)]
    truth = torch.stack([gradient.square().sum() for gradient in singles])
    norms = []

    def watch(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        value = inputs[0].detach()
        hook = lambda back: norms.append(squared_norms(layer, value, N * back))  # noqa: E731
        output.register_hook(hook)

    for layer in filter(own_parameters, model.modules()):
        assert is_known(layer)
        layer.register_forward_hook(watch)
    batch_gradient(workload, model, batch)

    assert torch.allclose(sum(norms), truth, rtol=1e-4, atol=1e-6)
