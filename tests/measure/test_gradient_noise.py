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
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload

CPU = torch.device("cpu")


def least_squares() -> tuple[Workload, nn.Module, float, float]:
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
    n_repeated: int,
) -> None:
    workload, model, trace, grad_sq = least_squares()
    noise = GradientNoise(workload, CPU)

    found = [noise_scale(noise.sample(model, seed=seed).sample) for seed in range(n_repeated)]

    for estimates, truth in (
        ([each.trace for each in found], trace),
        ([each.grad_sq for each in found], grad_sq),
    ):
        values = [each.estimate for each in estimates if each.estimate is not None]
        assert abs(np.mean(values) - truth) < 4 * np.std(values, ddof=1) / n_repeated**0.5
    assert 0.92 <= np.mean([each.scale.holds(trace / grad_sq) for each in found]) <= 0.98


def small(make: Callable[[], nn.Module], **fields: Any) -> Workload:
    stream = torch.Generator().manual_seed(1)
    x = torch.randn(203, 4, generator=stream)
    return Workload(
        name="small",
        model=make,
        train=(x, x.sum(dim=1, keepdim=True) + 0.5 * torch.randn(203, 1, generator=stream)),
        validation=None,
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        batch_size=16,
        **fields,
    )


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(), nn.Linear(6, 1))


def test_batch_normalization_is_measured_by_micro_batches_of_the_reference() -> None:
    torch.manual_seed(0)
    model = with_batch_norm()

    point = GradientNoise(small(with_batch_norm), CPU).sample(model, seed=0)

    assert point.way == "micro-batches"
    assert point.sample.unit_examples == 16
    assert point.sample.n_examples == 192  # 203 without those that fill no micro-batch
    assert noise_scale(point.sample).scale.estimate is not None


def test_where_gradients_are_drawn_anew_there_is_no_end_of_them() -> None:
    torch.manual_seed(0)
    noise = GradientNoise(small(with_dropout), CPU)

    point = noise.sample(with_dropout(), seed=0, precision=0.0)

    assert point.sample.n_examples == 203
    assert point.sample.n_train is None
    scale = noise_scale(point.sample).scale
    assert scale.low < scale.high


def test_a_sample_leaves_model_gradients_and_random_streams_as_they_were() -> None:
    torch.manual_seed(0)
    for make in (with_batch_norm, with_dropout):
        workload, model = small(make), make()
        workload.loss(model, workload.train).backward()
        before = copy.deepcopy(model.state_dict())
        gradients = [part.grad for part in model.parameters()]
        values = [part.grad.clone() for part in model.parameters() if part.grad is not None]
        stream = torch.get_rng_state()

        GradientNoise(workload, CPU).sample(model, seed=0)

        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(
            part.grad is kept for part, kept in zip(model.parameters(), gradients, strict=True)
        )
        now = [part.grad for part in model.parameters() if part.grad is not None]
        assert all(torch.equal(*pair) for pair in zip(now, values, strict=True))
        assert torch.equal(torch.get_rng_state(), stream)
        assert model.training


@pytest.mark.parametrize("most_blocks", [64, 8])
def test_all_examples_give_the_truth_itself_however_they_are_put_together(
    most_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload, model, trace, grad_sq = least_squares()
    monkeypatch.setattr("batchlab.measure.gradient_noise._MOST_BLOCKS", most_blocks)

    point = GradientNoise(workload, CPU).sample(model, seed=3, precision=0.0)

    scale = noise_scale(point.sample).scale
    assert len(point.sample.block_examples) <= most_blocks
    assert point.sample.n_examples == 2000
    assert scale.estimate == pytest.approx(trace / grad_sq, rel=1e-9)
    assert scale.low == pytest.approx(scale.high, rel=1e-7)  # the root of what rounding leaves


def test_asked_to_end_it_ends_with_enough_blocks_for_an_interval() -> None:
    workload, model, trace, grad_sq = least_squares()

    point = GradientNoise(workload, CPU).sample(model, seed=0, until_s=0.0)

    assert len(point.sample.block_examples) == 8
    assert noise_scale(point.sample).scale.holds(trace / grad_sq)


def test_unlike_weights_give_the_gradient_of_the_weighted_mean() -> None:
    """Examples count by how many of their numbers are above 0, block by block and together."""

    def weight(batch: Batch) -> float:
        return float((batch[0] > 0).sum())

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        counts = (x > 0).sum(dim=1)
        return ((model(x) - y).square().squeeze(1) * counts).sum() / counts.sum()

    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    workload = replace(small(lambda: nn.Linear(4, 1)), loss=loss, weight=weight)
    counts = (workload.train[0] > 0).sum(dim=1)
    singles = [
        batch_gradient(workload, model, tuple(part[i : i + 1] for part in workload.train))
        * (counts[i] * 203 / counts.sum())
        for i in range(203)
        if counts[i] > 0
    ]
    none = [torch.zeros(5)] * (203 - len(singles))
    trace, grad_sq = population(torch.stack(singles + none).tolist())

    assert len(singles) < 203  # some have no weight, and so no loss of their own
    point = GradientNoise(workload, CPU).sample(model, seed=0, precision=0.0)

    found = noise_scale(point.sample)
    assert point.way == "layers"
    assert found.grad_sq.estimate == pytest.approx(grad_sq, rel=1e-3)
    assert found.trace.estimate == pytest.approx(trace, rel=1e-3)


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam])
def test_adams_preconditioner_is_what_its_step_divides_by(make: Any) -> None:
    model = nn.Linear(4, 1)
    optimizer = make(model.parameters(), lr=0.1, betas=(0.0, 0.9), eps=1e-3)
    assert preconditioner(optimizer) is None
    assert preconditioner(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)) is None
    for seed in range(3):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()

    scales = preconditioner(optimizer)

    squares = optimizer.state[model.weight]["exp_avg_sq"] / (1 - 0.9**3)
    assert torch.allclose(scales[:4], (1 / (squares.sqrt() + 1e-3)).flatten())
    assert scales.shape == (5,)


def test_preconditioned_gradients_are_those_that_adam_rescales() -> None:
    torch.manual_seed(0)
    model, whole = nn.Linear(4, 1), small(lambda: nn.Linear(4, 1))
    workload = replace(whole, train=tuple(part[:192] for part in whole.train))  # blocks of 16
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    workload.loss(model, workload.train).backward()
    optimizer.step()

    noise = GradientNoise(workload, CPU)
    point = noise.sample(model, seed=0, optimizer=optimizer, precision=0.0)

    rescaled = batch_gradient(workload, model, workload.train) * preconditioner(optimizer)
    assert np.mean(point.rescaled.products) == pytest.approx(float(rescaled.square().sum()))


def test_what_has_no_noise_is_refused_in_a_line() -> None:
    workload = small(with_dropout)
    two = replace(workload, train=(torch.zeros(2, 4), torch.zeros(2, 1)))
    broken = replace(workload, loss=lambda model, batch: workload.loss(model, batch) / 0)

    with pytest.raises(WorkloadError, match=r"gradient of its loss on the first 16 .* not finite"):
        GradientNoise(broken, CPU).sample(with_dropout(), seed=0)
    with pytest.raises(WorkloadError, match=r"training set has 2 examples; .* at least 3"):
        GradientNoise(two, CPU)


def test_the_parts_of_each_parameter_add_up_to_the_whole() -> None:
    torch.manual_seed(0)
    noise = GradientNoise(small(with_batch_norm), CPU)

    point = noise.sample(with_batch_norm(), seed=0, per_layer=True)

    whole = noise_scale(point.sample.by_blocks)
    parts = [layer.estimates for layer in point.layers]
    assert [layer.name for layer in point.layers] == [
        name for name, _ in with_batch_norm().named_parameters()
    ]
    for get in (lambda each: each.trace.estimate, lambda each: each.grad_sq.estimate):
        assert sum(get(part) for part in parts) == pytest.approx(get(whole), rel=1e-5)
    assert noise.sample(with_batch_norm(), seed=0).layers == ()
