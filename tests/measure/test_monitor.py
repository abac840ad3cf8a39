"""The monitor in a loop of one's own: right, and without a trace in the training."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference.noise_scale import population
from torch import Tensor, nn

import batchlab
from batchlab.measure import monitor as watched
from batchlab.measure.monitor import Monitor
from batchlab.records.estimate import Reason

N, FEATURES = 400, 5


def data() -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(N, FEATURES, generator=stream)
    return x, x.sum(dim=1, keepdim=True) + torch.randn(N, 1, generator=stream)


def mlp() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(FEATURES, 8), nn.LayerNorm(8), nn.ReLU(inplace=True), nn.Dropout(0.2),
        nn.Linear(8, 1),
    )  # fmt: skip


def batches(size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    x, y = data()
    stream = torch.Generator().manual_seed(2)
    for _ in range(steps):
        chosen = torch.randint(N, (size,), generator=stream)
        yield x[chosen], y[chosen]


def train(
    model: nn.Module,
    *,
    steps: int,
    watch: bool = True,
    pieces: int = 1,
    size: int = 32,
    rate: float = 0.05,
    scale: float = 1.0,
    between: Callable[[nn.Module], object] = lambda model: None,
    to_none: bool = True,
) -> Monitor | None:
    """An ordinary loop, accumulated or not."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate / scale, momentum=0.9)
    monitor = Monitor(model, optimizer) if watch else None
    torch.manual_seed(3)
    for x, y in batches(size, steps):
        optimizer.zero_grad(set_to_none=to_none)
        for part, truth in zip(x.chunk(pieces), y.chunk(pieces), strict=True):
            loss = F.mse_loss(model(part), truth) / pieces
            (loss * scale).backward()
        between(model)
        optimizer.step()
        if monitor is not None:
            monitor.step(loss * pieces)
    return monitor


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "_EVERY", 1)
    monkeypatch.setattr(watched, "_KEPT", 1000)


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("every", [1, 50])
def test_a_watched_training_is_the_same_bit_for_bit(
    pieces: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "_EVERY", every)
    alone, beside = mlp(), mlp()

    train(alone, steps=100, watch=False, pieces=pieces)
    stream = torch.get_rng_state()
    train(beside, steps=100, pieces=pieces)

    assert all(
        torch.equal(one, other)
        for one, other in zip(alone.parameters(), beside.parameters(), strict=True)
    )
    assert torch.equal(torch.get_rng_state(), stream)


def truth_of(model: nn.Linear) -> tuple[float, float]:
    """tr Sigma and |G|^2 of a linear regression at these weights."""
    x, y = data()
    wrong = 2 * (model(x) - y).detach()
    return population(torch.cat([wrong * x, wrong], dim=1).tolist())


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("pieces", [1, 2])
def test_at_weights_that_stay_it_finds_the_true_noise_scale(pieces: int) -> None:
    torch.manual_seed(4)
    model = nn.Linear(FEATURES, 1)
    trace, grad_sq = truth_of(model)

    monitor = train(model, steps=600, pieces=pieces, rate=1e-12)

    # Each piece's loss was divided by their number, and so its gradient.
    pairs = np.array(monitor._pairs) * pieces**2
    standard_error = pairs.std(axis=0, ddof=1) / len(pairs) ** 0.5
    assert len(pairs) == 600
    assert (abs(pairs.mean(axis=0) - (trace, grad_sq)) < 4 * standard_error).all()
    assert monitor.reading.gradient_noise_scale.holds(trace / grad_sq)
    assert monitor.reading.batch_size == 32


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
def test_its_intervals_cover() -> None:
    torch.manual_seed(4)
    model = nn.Linear(FEATURES, 1)
    trace, grad_sq = truth_of(model)
    monitor = train(model, steps=4000, size=16, rate=1e-12)
    pairs = list(monitor._pairs)
    assert len(pairs) == 1000  # as many as are kept here

    held = []
    for start in range(0, 1000, 20):
        monitor._pairs.clear()
        monitor._pairs.extend(pairs[start : start + 20])
        held.append(monitor.reading.gradient_noise_scale.holds(trace / grad_sq))

    assert np.mean(held) >= 0.88  # of 50, 95 % less two standard errors and a bit


@pytest.mark.usefixtures("every_step")
def test_a_scaled_loss_and_a_clipped_gradient_make_no_difference() -> None:
    def clip(model: nn.Module) -> object:
        return torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)

    plain = train(mlp(), steps=20, rate=1e-12)
    scaled = train(mlp(), steps=20, rate=1e-12, scale=1024.0)
    clipped = train(mlp(), steps=20, rate=1e-12, between=clip)
    kept = train(mlp(), steps=20, rate=1e-12, to_none=False)

    truth = plain.reading.gradient_noise_scale
    for other in (scaled, clipped, kept):
        found = other.reading.gradient_noise_scale
        assert (found.estimate is None) == (truth.estimate is None)
        assert found.low == pytest.approx(truth.low, rel=1e-3)


def test_one_step_in_fifty_is_measured_and_hooks_are_on_for_no_other() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = Monitor(model, optimizer)
    hooked = []
    for x, y in batches(8, 102):
        hooked.append(any(layer._forward_hooks for layer in model.modules()))
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
        monitor.step()

    assert [step for step, is_on in enumerate(hooked) if is_on] == [0, 50, 100]
    assert len(monitor._pairs) == 3


def test_closed_it_leaves_no_hook() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    with Monitor(model, optimizer):
        assert any(layer._forward_hooks for layer in model.modules())

    assert not any(layer._forward_hooks for layer in model.modules())
    assert not any(part._post_accumulate_grad_hooks for part in model.parameters())
    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.usefixtures("every_step")
def test_an_evaluation_between_steps_is_no_part_of_them() -> None:
    def evaluate(model: nn.Module) -> None:
        with torch.no_grad():
            model(data()[0])

    model, other = nn.Linear(FEATURES, 1), nn.Linear(FEATURES, 1)
    other.load_state_dict(copy.deepcopy(model.state_dict()))

    alone = train(model, steps=10, rate=1e-12)
    between = train(other, steps=10, rate=1e-12, between=evaluate)

    assert list(alone._pairs) == list(between._pairs)
    assert between.reading.batch_size == 32


class Twice(nn.Module):
    """One layer used twice, beside one used once."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, FEATURES)
        self.last = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(torch.tanh(self.first(x))))


def pair_by_hand(model: nn.Module, layer: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """(tr Sigma, |G|^2) of one layer from the gradients of single examples."""
    parts = list(layer.parameters())
    singles = []
    for row, truth in zip(x, y, strict=True):
        loss = F.mse_loss(model(row.unsqueeze(0)), truth.unsqueeze(0))
        found = torch.autograd.grad(loss, parts)
        singles.append(torch.cat([part.flatten() for part in found]))
    stacked = torch.stack(singles).double()
    trace = float(stacked.var(dim=0).sum())
    return trace, float(stacked.mean(dim=0).square().sum()) - trace / len(x)


def test_a_layer_that_runs_twice_is_left_out_and_the_other_one_is_right() -> None:
    torch.manual_seed(6)
    model = Twice()
    (x, y) = next(batches(32, 1))
    expected = pair_by_hand(model, model.last, x, y)

    monitor = train(model, steps=1)

    assert monitor._pairs[0] == pytest.approx(expected, rel=1e-4)


def test_a_model_without_known_layers_says_so() -> None:
    monitor = train(
        nn.Sequential(nn.Unflatten(1, (1, FEATURES)), nn.Conv1d(1, 1, FEATURES), nn.Flatten()),
        steps=3,
    )

    assert monitor.reading.hint == Reason.of("monitor_sees_no_layer")
    assert monitor.reading.gradient_norm is not None


def test_too_early_it_says_how_many_steps_it_has_seen() -> None:
    monitor = train(mlp(), steps=51)

    assert monitor.reading.seen_fraction == 1
    assert monitor.reading.hint == Reason.of("too_few", what="steps", n=2, needed=3)
    assert str(monitor).startswith("Step 51: ")


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(("noise", "code"), [(30.0, "mostly_noise"), (1e-3, "hardly_noise")])
def test_the_hint_follows_the_noise(noise: float, code: str) -> None:
    torch.manual_seed(5)
    model = nn.Linear(FEATURES, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)
    monitor = batchlab.Monitor(model, optimizer)
    for _ in range(200):
        x = torch.ones(16, FEATURES)
        optimizer.zero_grad()
        (model(x) - 1 - noise * torch.randn(16, 1)).square().mean().backward()
        optimizer.step()
        monitor.step()

    assert monitor.reading.hint.code == code


def test_jumps_of_the_loss_are_counted() -> None:
    model = nn.Linear(1, 1)
    monitor = Monitor(model, torch.optim.SGD(model.parameters(), lr=0.1))
    stream = np.random.default_rng(0)

    for step in range(200):
        monitor.step(1 + 0.1 * stream.random() + (5.0 if step in (60, 150) else 0.0))

    assert monitor.reading.loss_spikes == 2
    assert monitor.reading.loss == pytest.approx(1.05, abs=0.05)
