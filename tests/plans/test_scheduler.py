"""PlanScheduler and `scale`: rate, betas and eps by step, and back."""

from itertools import islice
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import batchlab
from batchlab import plans
from batchlab.errors import UsageError
from batchlab.plans import Milestone, Plan
from batchlab.plans.scheduler import scale

UP_AND_DOWN = (Milestone(at=1, batch_size=40), Milestone(at=2, batch_size=10))


def group(**settings: Any) -> dict[str, Any]:
    return {"params": [nn.Parameter(torch.zeros(2))], **settings}


def settings_by_step(
    plan: Plan, optimizer: torch.optim.Optimizer, **settings: Any
) -> list[dict[str, Any]]:
    """What the first group had at each step; on 40 examples."""
    sampler = batchlab.BatchSizeSampler(range(40), plan)
    scheduler = sampler.scheduler(optimizer, **settings)
    by_step = []
    for _ in range(sampler.n_steps):
        by_step.append(dict(optimizer.param_groups[0]))
        optimizer.step()
        scheduler.step()
    return by_step


HALVED = (Milestone(at=1, batch_size=10, rate_factor=0.5),)
HALF = Plan(epochs=2, batch_size=10, milestones=HALVED)
BACK = Plan(epochs=3, batch_size=10, milestones=UP_AND_DOWN, scaling_rule="sqrt")
FALLING = {"schedule": lambda done: 1 - done}


@pytest.mark.parametrize(("plan", "rate", "settings", "rates"), [
    (BACK, 0.1, {}, [0.1] * 4 + [0.2] + [0.1] * 4),
    # A plan's factor and a schedule multiply.
    (HALF, 0.8, FALLING, [0.8, 0.7, 0.6, 0.5, 0.2, 0.15, 0.1, 0.05]),
])  # fmt: skip
def test_the_rate_follows_the_size_and_comes_back_to_the_same_number(plan, rate, settings, rates):
    by_step = settings_by_step(plan, torch.optim.SGD([group()], lr=rate), **settings)

    found = [settings["lr"] for settings in by_step]
    assert found == (pytest.approx(rates) if settings else rates)


def test_adam_follows_its_rule_there_and_back():
    plan = Plan(epochs=3, batch_size=10, milestones=UP_AND_DOWN, scaling_rule="sde-adam")

    by_step = settings_by_step(plan, torch.optim.AdamW([group()], lr=1e-3))

    grown = by_step.pop(4)
    assert (grown["lr"], grown["eps"]) == pytest.approx((2e-3, 5e-9))
    assert grown["betas"] == pytest.approx((0.6, 0.996))
    for settings in by_step:
        assert (settings["lr"], settings["betas"], settings["eps"]) == (1e-3, (0.9, 0.999), 1e-8)


def test_a_rate_that_is_a_tensor_stays_that_tensor():
    rate = torch.tensor(0.8)
    optimizer = torch.optim.SGD([group(), group(lr=0.08)], lr=rate)

    settings_by_step(HALF, optimizer)

    assert optimizer.param_groups[0]["lr"] is rate
    rates = [float(settings["lr"]) for settings in optimizer.param_groups]
    assert rates == pytest.approx([0.4, 0.04])


def settings_of(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    groups = optimizer.param_groups
    return [{name: each[name] for name in each if name != "params"} for each in groups]


@pytest.mark.parametrize("rule", ["none", "linear", "sqrt", "sde-adam", 0.62])
def test_scaling_in_place_undoes_bit_for_bit(rule):
    optimizer = torch.optim.AdamW([group(), group(lr=3e-5, betas=(0.8, 0.99))], lr=1e-3 / 3)
    before = settings_of(optimizer)

    undo = scale(optimizer, rule, batch_size=192, reference_batch_size=64)
    moved = settings_of(optimizer)
    undo()

    assert (moved != before) == (rule != "none")
    assert moved[0]["lr"] / moved[1]["lr"] == pytest.approx(before[0]["lr"] / before[1]["lr"])
    assert settings_of(optimizer) == before


def test_a_rule_that_does_not_reach_is_refused_before_anything_is_changed():
    optimizer = torch.optim.AdamW([group()], lr=1e-3)
    before = settings_of(optimizer)
    far = (Milestone(at=1, batch_size=100),)
    plan = Plan(epochs=2, batch_size=10, milestones=far, scaling_rule="sde-adam")

    with pytest.raises(UsageError, match=r"beta 1 = 0.9 would .* sizes up to 639, use"):
        scale(optimizer, "sde-adam", batch_size=640, reference_batch_size=64)
    assert settings_of(optimizer) == before
    scale(optimizer, "sde-adam", batch_size=639, reference_batch_size=64)()
    with pytest.raises(UsageError, match="up to 99"):
        batchlab.BatchSizeSampler(range(100), plan).scheduler(optimizer)


def test_a_group_added_later_is_refused_in_one_line():
    optimizer = torch.optim.SGD([group()], lr=0.1)
    sampler = batchlab.BatchSizeSampler(range(40), plans.constant(10, epochs=1))
    scheduler = sampler.scheduler(optimizer)
    optimizer.add_param_group(group())
    optimizer.step()

    with pytest.raises(UsageError, match="parameter group 1 was added after"):
        scheduler.step()


# ---- a training of one's own, in plain PyTorch

DATA = TensorDataset(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
PLAN = Plan(
    epochs=3,
    batch_size=5,
    milestones=(Milestone(at=1.3, batch_size=20),),
    scaling_rule="sde-adam",
)


def begun() -> tuple[nn.Module, torch.optim.Optimizer, batchlab.BatchSizeSampler]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    sampler = batchlab.BatchSizeSampler(DATA, PLAN, seed=1)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01), sampler


def train(model, optimizer, sampler, rates, *, until: int | None = None) -> None:
    for (x,) in islice(DataLoader(DATA, batch_sampler=sampler), until):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        rates.step()


@pytest.mark.parametrize("optimizer_first", [True, False])
@pytest.mark.parametrize("step", [1, 13, 14, 20])
def test_stopped_and_resumed_it_is_the_uninterrupted_training(step, optimizer_first):
    whole, optimizer, sampler = begun()
    train(whole, optimizer, sampler, sampler.scheduler(optimizer))
    stopped = begun()
    train(*stopped, stopped[2].scheduler(stopped[1]), until=step)
    states = [each.state_dict() for each in stopped]

    model, optimizer, sampler = resumed = begun()
    early = None if optimizer_first else sampler.scheduler(optimizer)
    for each, state in zip(resumed, states, strict=True):
        each.load_state_dict(state)
    train(*resumed, early or sampler.scheduler(optimizer))

    assert all(map(torch.equal, model.parameters(), whole.parameters()))
