"""Branches leave the training as it is, and show what a larger batch wastes."""

import math
from dataclasses import replace

import pytest
import torch
from tests.reference.random_streams import random_streams
from tests.reference.small_workloads import everything_workload, small_trial, small_workload

from batchlab.measure.branches import Branches, branch_of
from batchlab.random_state import seed_everything
from batchlab.records.run import OUT_OF_TIME
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

CPU = torch.device("cpu")


def branches_at(
    workload: Workload, step: int, *, learning_rate: float, horizon_steps: int = 600
) -> Branches:
    trial = small_trial(workload, batch_size=workload.batch_size, learning_rate=learning_rate)
    if workload.schedule is not None:
        trial = replace(trial, horizon_steps=horizon_steps)
    stepper = Stepper(workload, trial, CPU)
    stepper.steps(stepper.stream(0), step, first_step=0)
    return Branches.of(workload, stepper, trial, step)


def test_a_branch_is_the_training_up_to_there_and_then_cools_down() -> None:
    trial = small_trial(small_workload(n=400), batch_size=10)

    branch = branch_of(trial, at=200, window=100.0, batch_size=20, factor=1.5)

    assert [branch.plan.batch_size_at(step) for step in (0, 19, 20, 24)] == [10, 10, 20, 20]
    rates = [branch.plan.stage_at(step).rate_factor for step in range(20, 25)]
    assert rates[0] == rates[1] == 1.5
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert branch.plan.stage_at(24).rate_factor < 0.6
    assert replace(branch, stages=(), micro_batch_size=10) == trial


def test_the_training_goes_on_as_if_nothing_had_branched() -> None:
    """Dropout, BatchNorm, Adam, noise from all streams, and a schedule."""
    workload = everything_workload(n=200)
    workload = replace(workload, batch_size=4)
    measured, plain = (branches_at(workload, 60, learning_rate=0.01) for _ in range(2))
    before = random_streams()

    assert measured.wasted()

    assert random_streams() == before
    weights = []
    for stepper in (measured.stepper, plain.stepper):
        seed_everything(0)
        stepper.steps(stepper.stream(60), 20, first_step=60)
        weights.append(stepper.model.state_dict().values())
    assert all(map(torch.equal, *weights))


def test_where_the_loss_hangs_on_rate_times_steps_the_linear_rule_wastes_nothing() -> None:
    """All examples are alike, and the rate is far below where the loss would be unstable."""
    x = torch.ones(4096, 1)
    workload = Workload(
        name="alike",
        model=lambda: torch.nn.Linear(1, 1),
        train=(x, 3 * x),
        validation=(x[:10], 3 * x[:10]),
        loss=lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        optimizer=lambda parameters, learning_rate: torch.optim.SGD(parameters, learning_rate),
        learning_rate=0.001,
        batch_size=8,
    )

    times, lows, _ = zip(*branches_at(workload, 400, learning_rate=0.001).wasted(), strict=True)

    assert times == (2, 4, 8, 16)
    assert lows == pytest.approx((1, 1, 1, 1), abs=0.1)


def test_branches_keep_the_rate_that_a_schedule_has_come_to() -> None:
    """Beyond its end a schedule may give anything."""
    plain = replace(small_workload(n=400), batch_size=8)
    halved = replace(plain, schedule=lambda fraction: 0.5 if fraction <= 1 else 1 / 0)

    wasted, of_half = (
        branches_at(workload, 100, learning_rate=rate, horizon_steps=100).wasted()
        for workload, rate in ((plain, 0.002), (halved, 0.004))
    )

    assert wasted == of_half != []


def test_where_the_loss_does_not_fall_nothing_is_said() -> None:
    """The validation labels are noise, or the rate has come to 0, or there is no time."""
    workload = small_workload(n=400)
    x, labels = workload.validation
    noise = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    of_noise = replace(workload, validation=(x, noise))
    ended = replace(workload, batch_size=8, schedule=lambda fraction: 1.0 - fraction)

    assert branches_at(of_noise, 400, learning_rate=0.2).wasted() == []
    assert branches_at(ended, 100, learning_rate=0.002, horizon_steps=100).wasted() == []
    branches = branches_at(workload, 100, learning_rate=0.05)
    estimate = branches.critical_batch_size(until_s=-math.inf)
    assert (estimate.estimate, estimate.n, estimate.reason) == (None, 0, OUT_OF_TIME)
