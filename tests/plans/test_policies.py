"""Adaptive batch sizes: what each rule reaches on a known noise, and the sampler that follows."""

import math
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import batchlab
from batchlab.errors import UsageError
from batchlab.plans.policies import AdaptiveSampler, AdaptiveSize, Plateau

TRACE, GRAD_SQ, D = 400.0, 4.0, 50


def fed(size: AdaptiveSize, *, steps: int) -> AdaptiveSize:
    """Steps whose examples' gradients are normal, of that mean and covariance."""
    draw = np.random.default_rng(0)
    for _ in range(steps):
        draws = draw.standard_normal((size.batch_size, D), dtype=np.float32)
        gradients = (GRAD_SQ / D) ** 0.5 + (TRACE / D) ** 0.5 * draws
        of_batch = gradients.mean(0)
        trace = ((gradients - of_batch) ** 2).sum() / (size.batch_size - 1)
        pair = trace, (of_batch**2).sum() - trace / size.batch_size
        size.saw(pair=pair, loss=2.0, learning_rate=0.5)
    return size


# With theta^2 of a quarter: where B = tr Sigma / (theta^2 (|G|^2 + tr Sigma / B)).
NORM_TEST = TRACE * (1 - 0.25) / (0.25 * GRAD_SQ)


@pytest.mark.parametrize(("rule", "expected"), [
    *(("noise-scale", TRACE / GRAD_SQ), ("norm-test", NORM_TEST), ("cabs", 0.5 * TRACE / 2.0)),
    (lambda seen: 3 * seen.trace / seen.grad_sq, 300),
])  # fmt: skip
@pytest.mark.parametrize("first", [8, 700])
def test_each_rule_reaches_its_size_on_a_known_noise(rule, expected: float, first: int) -> None:
    # An average over about 200 steps scatters by 2.5 %: a tenth is four standard errors.
    size = fed(AdaptiveSize(rule, first=first, most=1000, apart=1.02, kept=0.99), steps=1000)

    assert size.batch_size == pytest.approx(expected, rel=0.1)


WIDE, NARROW = {"first": 8, "most": 64}, {"first": 32, "least": 16, "most": 64}


@pytest.mark.parametrize(("settings", "pairs", "moves"), [
    (WIDE, [(100.0, -1.0)] * 5, []),  # a gradient lost in its noise moves nothing
    (WIDE, [None, (100.0, 1.0)], [(2, 8, 64, 100.0)]),
    (NARROW, [(3.0, 1.0)], [(1, 32, 16, 3.0)]),
    ({"first": 90, "most": 1000, "apart": 2.0}, [(179.0, 1.0), (46.0, 1.0)], []),
    # Each quantity is averaged before they are divided.
    (WIDE, [(32.0, 4.0), (100.0, -1.0), (40.0, 2.0)],
     [(2, 8, 64, (32 / 2 + 100) / (4 / 2 - 1)), (3, 64, 39, (8 + 50 + 40) / (1 - 0.5 + 2))]),
])  # fmt: skip
def test_its_moves_say_when_and_what_was_wanted(
    settings: dict[str, Any], pairs: list[Any], moves: list[Any]
) -> None:
    size = AdaptiveSize("noise-scale", **({"kept": 0.5} | settings))

    for pair in pairs:
        size.saw(pair=pair)

    found = [(move.step, move.before, move.after, move.wanted) for move in size.moves]
    assert found == [pytest.approx(move) for move in moves]


def test_a_plateau_grows_where_the_metric_stalls() -> None:
    size = AdaptiveSize(Plateau(patience=2, better="higher"), first=8, most=20)

    seen = []
    for metric in (0.5, 0.6, 0.6, 0.55, 0.7, 0.7, 0.7, 0.7):
        size.saw(metric=metric)
        size.saw()
        seen.append(size.batch_size)

    assert seen == [8, 8, 8, 16, 16, 16, 20, 20]


@pytest.mark.parametrize(
    "rule", [lambda: "noise-scale", partial(Plateau, patience=2, better="lower")]
)
def test_stopped_and_loaded_it_goes_on_as_if_it_had_not_been(rule: Any) -> None:
    whole, stopped, resumed = (AdaptiveSize(rule(), first=8, most=1000) for _ in "abc")

    def told(size: AdaptiveSize, steps: range) -> None:
        for step in steps:
            size.saw(pair=(50.0 + step, 1.0), metric=abs(math.sin(step)))

    told(whole, range(40))
    told(stopped, range(17))
    resumed.load_state_dict(stopped.state_dict())
    told(resumed, range(17, 40))

    assert (resumed.batch_size, resumed.moves) == (whole.batch_size, whole.moves)
    assert whole.moves


# ---- the sampler


def walked(until: int | None = None, states: Any = None) -> Any:
    """The batches of three epochs, from these states if there are any, and the states there.

    Each step has another size.
    """
    size = AdaptiveSize(lambda seen: seen.trace, first=5, most=40, apart=1.0, kept=0.0)
    sampler = AdaptiveSampler(range(50), size, epochs=3, seed=1)
    if states is not None:
        size.load_state_dict(states[0])
        sampler.load_state_dict(states[1])
    batches = []
    for batch in islice(sampler, until):
        batches.append(batch)
        size.saw(pair=(3.0 + 7 * len(batch) % 31, 1.0))
    return batches, (size.state_dict(), sampler.state_dict(step=until or 0))


def test_every_example_comes_once_an_epoch_whatever_the_sizes_do_and_where_it_stops() -> None:
    whole, _ = walked()

    assert len(set(map(len, whole))) > 3
    places = torch.tensor(list(chain(*whole))).view(3, 50)
    assert torch.equal(places.sort(1).values, torch.arange(50).expand(3, -1))
    for step in (0, 1, 7, 12):
        _, states = walked(until=step)
        assert walked(states=states)[0] == whole[step:]


@pytest.mark.slow
def test_a_change_comes_as_many_steps_late_as_workers_fetch_ahead() -> None:
    size = AdaptiveSize(lambda seen: 20.0, first=10, most=20)
    sampler = AdaptiveSampler(range(400), size, epochs=1)
    loader = DataLoader(range(400), batch_sampler=sampler, num_workers=2, prefetch_factor=3)

    sizes = []
    for batch in loader:
        sizes.append(len(batch))
        size.saw(pair=(1.0, 1.0))

    assert AdaptiveSampler.lag(loader) == 6
    assert sizes.index(20) <= 1 + 6  # the first batch was out when the first step was told
    assert sum(sizes) == 400


def test_with_a_monitor_the_batch_of_a_noisy_training_grows() -> None:
    torch.manual_seed(0)
    x = torch.randn(4000, 5)
    data = TensorDataset(x, x.sum(1, keepdim=True) + torch.randn(4000, 1))
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    size = AdaptiveSize("noise-scale", first=8, most=512)
    sampler = AdaptiveSampler(data, size, epochs=3)

    with batchlab.Monitor(model, optimizer) as monitor:
        for inputs, wanted in DataLoader(data, batch_sampler=sampler):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), wanted)
            loss.backward()
            optimizer.step()
            monitor.step()
            size.saw(pair=monitor.latest, loss=loss.item())

    assert size.batch_size > 32


@pytest.mark.parametrize(("make", "told"), [
    (lambda: AdaptiveSize("gns", first=8, most=9), "expected one of noise-scale, norm-test"),
    (lambda: AdaptiveSize("cabs", first=8, most=4), "least <= first <= most"),
    (lambda: AdaptiveSize("cabs", first=8, most=9, apart=0.5), "apart=0.5"),
    (lambda: Plateau(patience=0, better="higher"), "patience=0"),
    (lambda: Plateau(patience=1, better="up"), "better='up'"),
])  # fmt: skip
def test_what_is_no_policy_is_refused_in_one_line(make, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        make()
    assert "\n" not in str(refused.value)
