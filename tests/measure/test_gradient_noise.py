"""Samples of gradients: right on problems with a closed form, and nothing is left behind."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.by_day import by_day
from tests.reference.noise_scale import population
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.laws.noise_scale import noise_scale
from batchlab.measure.gradient_noise import GradientNoise, preconditioner
from batchlab.measure.gradients import batch_gradient
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
    most_blocks: int, monkeypatch: pytest.MonkeyPatch, least_squares: Problem
) -> None:
    workload, model, trace, grad_sq = least_squares
    monkeypatch.setattr("batchlab.measure.gradient_noise._MOST_BLOCKS", most_blocks)

    point = GradientNoise(workload, CPU).sample(model, seed=3, precision=0.0)

    scale = noise_scale(point.sample).scale
    assert len(point.sample.block_examples) <= most_blocks
    assert point.sample.n_examples == 2000
    assert scale.estimate == pytest.approx(trace / grad_sq, rel=1e-9)
    assert scale.low == pytest.approx(scale.high, rel=1e-7)  # the root of what rounding leaves


def test_asked_to_end_it_ends_with_enough_blocks_for_an_interval(least_squares: Problem) -> None:
    workload, model, trace, grad_sq = least_squares

    point = GradientNoise(workload, CPU).sample(model, seed=0, until_s=0.0)

    assert len(point.sample.block_examples) == 8
    assert noise_scale(point.sample).scale.holds(trace / grad_sq)


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
    workload.loss(model, workload.train).backward()
    before = copy.deepcopy(model)
    gradients = [weights.grad for weights in model.parameters()]
    values = copy.deepcopy(gradients)
    stream = torch.get_rng_state()

    GradientNoise(workload, CPU).sample(model, seed=0)

    assert all(map(torch.equal, model.state_dict().values(), before.state_dict().values()))
    for weights, gradient, value in zip(model.parameters(), gradients, values, strict=True):
        assert weights.grad is gradient
        assert torch.equal(gradient, value)
    assert torch.equal(torch.get_rng_state(), stream)
    assert model.training


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
