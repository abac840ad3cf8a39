"""The monitor in a loop of one's own: right, and without a trace in the training."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference.noise_scale import population
from torch import Tensor, nn

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


def linear() -> nn.Linear:
    torch.manual_seed(4)
    return nn.Linear(FEATURES, 1)


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
    rate: float = 1e-12,  # at which the weights stay
    scale: float = 1.0,
    between: Callable[[nn.Module], object] = lambda model: None,
    to_none: bool = True,
) -> Monitor | None:
    """An ordinary loop, accumulated or not."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate / scale, momentum=0.9)
    monitor = Monitor(model) if watch else None
    torch.manual_seed(3)
    for x, y in batches(size, steps):
        optimizer.zero_grad(set_to_none=to_none)
        for inputs, truth in zip(x.chunk(pieces), y.chunk(pieces), strict=True):
            loss = F.mse_loss(model(inputs), truth) / pieces
            (loss * scale).backward()
        between(model)
        optimizer.step()
        if monitor is not None:
            monitor.step()
    return monitor


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(watched, "_EVERY", 1)
    monkeypatch.setattr(watched, "_KEPT", 1000)


# Without a trace


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("every", [1, 50])
def test_a_watched_training_is_the_same_bit_for_bit(pieces, every, monkeypatch):
    monkeypatch.setattr(watched, "_EVERY", every)
    plain, monitored = mlp(), mlp()

    train(plain, steps=100, watch=False, pieces=pieces, rate=0.05)
    stream = torch.get_rng_state()
    train(monitored, steps=100, pieces=pieces, rate=0.05)

    assert all(map(torch.equal, plain.parameters(), monitored.parameters()))
    assert torch.equal(torch.get_rng_state(), stream)


def has_hooks(model: nn.Module) -> bool:
    return any(layer._forward_hooks for layer in model.modules())


def test_one_step_in_fifty_is_measured_and_hooks_are_on_for_no_other():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    hooked = []
    monitor = Monitor(model)
    for step, (x, y) in enumerate(batches(8, 101)):
        if has_hooks(model):
            hooked.append(step)
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
        monitor.step()
    assert hooked == [0, 50, 100]
    assert len(monitor._pairs) == 3

    closed = Monitor(model)
    assert has_hooks(model)
    closed.close()
    assert not has_hooks(model)
    assert not any(weights._post_accumulate_grad_hooks for weights in model.parameters())


# Right


def truth_of(model: nn.Linear) -> tuple[float, float]:
    """tr Sigma and |G|^2 of a linear regression at these weights."""
    x, y = data()
    wrong = 2 * (model(x) - y).detach()
    return population(torch.cat([wrong * x, wrong], dim=1).tolist())


@pytest.mark.slow
@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("pieces", [1, 2])
def test_it_finds_the_true_noise_scale_and_its_intervals_cover(pieces):
    """At weights that stay."""
    trace, grad_sq = truth_of(linear())

    monitor = train(linear(), steps=1000, pieces=pieces)

    # Each piece's loss was divided by their number, and so its gradient.
    pairs = np.array(monitor._pairs) * pieces**2
    standard_error = pairs.std(axis=0, ddof=1) / len(pairs) ** 0.5
    assert len(pairs) == 1000
    assert (abs(pairs.mean(axis=0) - (trace, grad_sq)) < 4 * standard_error).all()
    assert monitor.reading.gradient_noise_scale.holds(trace / grad_sq)
    assert monitor.reading.batch_size == 32
    pairs, held = list(monitor._pairs), []
    for start in range(0, 1000, 20):
        monitor._pairs.clear()
        monitor._pairs.extend(pairs[start : start + 20])
        held.append(monitor.reading.gradient_noise_scale.holds(trace / grad_sq))
    assert np.mean(held) >= 0.88  # of 50, 95 % less two standard errors and a bit


def evaluate(model: nn.Module) -> None:
    with torch.no_grad():
        model.eval()(data()[0])
    model.train()


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("loop", [
    *({"scale": 1024.0}, {"between": evaluate}, {"to_none": False}),
    {"between": lambda model: nn.utils.clip_grad_norm_(model.parameters(), 1e-3)},
])  # fmt: skip
def test_what_a_loop_does_beside_its_steps_makes_no_difference(loop):
    plain, changed = train(mlp(), steps=20), train(mlp(), steps=20, **loop)

    truth, scale = (monitor.reading.gradient_noise_scale for monitor in (plain, changed))
    assert (scale.estimate is None) == (truth.estimate is None)
    assert scale.low == pytest.approx(truth.low, rel=1e-3)
    assert changed.reading.batch_size == 32


class Twice(nn.Module):
    """One layer used twice, before one used once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(torch.tanh(self.first(x))))


def test_a_layer_that_runs_twice_is_left_out_and_the_other_one_is_right():
    torch.manual_seed(6)
    model = Twice()
    x, y = next(batches(32, 1))
    singles = [
        torch.autograd.grad(loss, [*model.last.parameters()], retain_graph=True)
        for loss in F.mse_loss(model(x), y, reduction="none")
    ]
    stacked = torch.stack([torch.cat([part.flatten() for part in one]).double() for one in singles])
    trace = float(stacked.var(dim=0).sum())
    grad_sq = float(stacked.mean(dim=0).square().sum()) - trace / 32

    monitor = train(model, steps=1)

    assert monitor._pairs[0] == pytest.approx((trace, grad_sq), rel=1e-4)


def test_a_batch_that_is_overwritten_before_the_step_is_not_measured():
    model, (x, y) = linear(), next(batches(32, 1))
    monitor = Monitor(model)

    F.mse_loss(model(x), y).backward()
    x.zero_()
    monitor.step()

    assert not monitor._pairs


# What it says


def test_what_it_cannot_see_it_says():
    """No known layer, or too few steps."""
    blind = train(
        nn.Sequential(nn.Unflatten(1, (1, FEATURES)), nn.Conv1d(1, 1, FEATURES), nn.Flatten()),
        steps=3,
    )
    early = train(mlp(), steps=51)

    assert blind.reading.hint == Reason.of("monitor_sees_no_layer")
    assert early.reading.seen_fraction == 1
    assert early.reading.hint == Reason.of("too_few", what="steps", n=2, needed=3)
    assert str(early).startswith("Step 51: ")


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(("noise", "code"), [(30.0, "mostly_noise"), (1e-3, "hardly_noise")])
def test_the_hint_follows_the_noise(noise, code):
    torch.manual_seed(5)
    model = nn.Linear(FEATURES, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)
    monitor = Monitor(model)
    for _ in range(200):
        optimizer.zero_grad()
        wrong = model(torch.ones(16, FEATURES)) - 1 - noise * torch.randn(16, 1)
        wrong.square().mean().backward()
        optimizer.step()
        monitor.step()

    assert monitor.reading.hint.code == code
