"""PlanScheduler and `scale`: rate, betas and eps by step, and back."""

from dataclasses import replace
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


def weight() -> nn.Parameter:
    return nn.Parameter(torch.zeros(2))


def rates_of(
    plan: Plan, optimizer: torch.optim.Optimizer, *, n: int = 40, **given: Any
) -> list[dict[str, Any]]:
    """What the first group had at each step."""
    sampler = batchlab.BatchSizeSampler(range(n), plan)
    scheduler = sampler.scheduler(optimizer, **given)
    seen = []
    for _ in range(sampler.n_steps):
        seen.append(dict(optimizer.param_groups[0]))
        optimizer.step()
        scheduler.step()
    return seen


def test_the_rate_follows_the_size_and_comes_back_to_the_same_number() -> None:
    plan = Plan(epochs=3, batch_size=10, milestones=UP_AND_DOWN, scaling_rule="sqrt")

    seen = [g["lr"] for g in rates_of(plan, torch.optim.SGD([weight()], lr=0.1))]

    assert seen == [0.1] * 4 + [0.2] + [0.1] * 4


def test_adam_follows_its_rule_there_and_back() -> None:
    plan = Plan(epochs=3, batch_size=10, milestones=UP_AND_DOWN, scaling_rule="sde-adam")

    seen = rates_of(plan, torch.optim.AdamW([weight()], lr=1e-3))

    assert seen[4]["lr"] == pytest.approx(2e-3)
    assert seen[4]["betas"] == pytest.approx((0.6, 0.996))
    assert seen[4]["eps"] == pytest.approx(5e-9)
    for group in (*seen[:4], *seen[5:]):
        assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.999), 1e-8)


def test_a_plans_factor_a_schedule_and_a_warm_up_multiply() -> None:
    milestones = (Milestone(at=1, batch_size=10, rate_factor=0.5),)
    plan = Plan(epochs=2, batch_size=10, milestones=milestones)

    seen = rates_of(
        plan,
        torch.optim.SGD([weight()], lr=0.8),
        schedule=lambda done: 1 - done,
        warm_up_steps=2,
    )

    steps = [0.8, 0.8, 0.8, 0.8, 0.6, 0.4, 0.4, 0.4]
    assert [g["lr"] for g in seen] == pytest.approx([s * (1 - i / 8) for i, s in enumerate(steps)])


def test_a_warm_up_alone_climbs_after_a_change_and_stays() -> None:
    milestones = (Milestone(at=1, batch_size=10, rate_factor=5.0),)
    plan = Plan(epochs=2, batch_size=10, milestones=milestones)

    seen = rates_of(plan, torch.optim.SGD([weight()], lr=1.0), warm_up_steps=3)

    assert [g["lr"] for g in seen] == pytest.approx([1, 1, 1, 1, 7 / 3, 11 / 3, 5, 5])


def test_a_plans_own_rate_is_the_first_groups_and_the_others_keep_their_ratio() -> None:
    optimizer = torch.optim.SGD(
        [{"params": [weight()]}, {"params": [weight()], "lr": 0.01}], lr=0.1
    )
    plan = Plan(epochs=1, batch_size=10, learning_rate=0.4)

    batchlab.BatchSizeSampler(range(40), plan).scheduler(optimizer)

    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.4, 0.04])


def test_a_rate_in_a_tensor_stays_that_tensor() -> None:
    rate = torch.tensor(0.1)
    optimizer = torch.optim.Adam([weight()], lr=rate)
    plan = Plan(epochs=2, batch_size=10, milestones=UP_AND_DOWN[:1], scaling_rule="linear")
    sampler = batchlab.BatchSizeSampler(range(40), plan)
    scheduler = sampler.scheduler(optimizer)

    for _ in range(4):
        optimizer.step()
        scheduler.step()

    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.4)


@pytest.mark.parametrize("rule", ["none", "linear", "sqrt", "sde-adam", 0.62])
def test_scaling_in_place_undoes_bit_for_bit(rule: str | float) -> None:
    groups = [{"params": [weight()]}, {"params": [weight()], "lr": 3e-5, "betas": (0.8, 0.99)}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3 / 3)
    before = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]

    undo = scale(optimizer, rule, batch_size=192, reference_batch_size=64)
    moved = [g["lr"] for g in optimizer.param_groups]
    undo()

    assert moved[0] / moved[1] == pytest.approx(before[0]["lr"] / before[1]["lr"])
    assert [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups] == before


def test_a_rule_that_does_not_reach_changes_nothing() -> None:
    optimizer = torch.optim.AdamW([weight()], lr=1e-3)

    with pytest.raises(UsageError, match="up to 639"):
        scale(optimizer, "sde-adam", batch_size=1024, reference_batch_size=64)

    assert optimizer.param_groups[0]["lr"] == 1e-3
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_a_plan_whose_rule_will_not_reach_is_refused_before_it_begins() -> None:
    far = (Milestone(at=1, batch_size=100),)
    plan = Plan(epochs=2, batch_size=10, milestones=far, scaling_rule="sde-adam")

    with pytest.raises(UsageError, match="up to 99"):
        batchlab.BatchSizeSampler(range(100), plan).scheduler(torch.optim.AdamW([weight()]))


def test_a_group_added_later_is_refused_in_one_line() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    sampler = batchlab.BatchSizeSampler(range(40), plans.constant(10, epochs=1))
    scheduler = sampler.scheduler(optimizer)
    optimizer.add_param_group({"params": [weight()]})
    optimizer.step()

    with pytest.raises(UsageError, match="parameter group 1 was added after"):
        scheduler.step()


# ---- a training of one's own, in plain PyTorch

DATA = TensorDataset(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
PLAN = Plan(epochs=3, batch_size=5, milestones=(Milestone(at=1.3, batch_size=20),))


def begun(rule: str) -> tuple[nn.Module, torch.optim.Optimizer, batchlab.BatchSizeSampler]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    sampler = batchlab.BatchSizeSampler(DATA, replace(PLAN, scaling_rule=rule), seed=1)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01), sampler


def trained(model, optimizer, sampler, rates, *, until: int | None = None) -> None:
    for taken, (x,) in enumerate(DataLoader(DATA, batch_sampler=sampler, num_workers=0), start=1):
        model(x).square().mean().backward()
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        if taken == until:
            return


@pytest.mark.parametrize("optimizer_first", [True, False])
@pytest.mark.parametrize("step", [1, 13, 14, 20])
def test_stopped_and_resumed_it_is_the_uninterrupted_training(
    step: int, optimizer_first: bool
) -> None:
    model, optimizer, sampler = begun("sde-adam")
    trained(model, optimizer, sampler, sampler.scheduler(optimizer))
    expected = [part.detach().clone() for part in model.parameters()]
    model, optimizer, sampler = begun("sde-adam")
    trained(model, optimizer, sampler, sampler.scheduler(optimizer), until=step)
    states = model.state_dict(), optimizer.state_dict(), sampler.state_dict()

    model, optimizer, sampler = begun("sde-adam")
    model.load_state_dict(states[0])
    if optimizer_first:
        optimizer.load_state_dict(states[1])
        sampler.load_state_dict(states[2])
        rates = sampler.scheduler(optimizer)
    else:
        rates = sampler.scheduler(optimizer)
        optimizer.load_state_dict(states[1])
        sampler.load_state_dict(states[2])
    trained(model, optimizer, sampler, rates)

    assert all(map(torch.equal, model.parameters(), expected))
