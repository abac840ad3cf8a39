"""RateSchedule: PyTorch's schedulers go on where a textbook loop has them go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.engine_run import run_engine
from tests.reference.small_workloads import small_trial, small_workload
from tests.reference.textbook_loop import assert_same_weights, steps_of, train_by_the_textbook
from torch.optim import lr_scheduler

from batchlab.errors import WorkloadError
from batchlab.records.run import RunLength
from batchlab.training.checkpoint import load_checkpoint
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

CPU = torch.device("cpu")
EPOCHS, STEPS_AN_EPOCH = 4, 5
N_STEPS = EPOCHS * STEPS_AN_EPOCH


# What makes it, and how often it goes on.
SCHEDULERS: dict[str, tuple[Callable[..., Any], str]] = {
    "step": (lambda optimizer: lr_scheduler.StepLR(optimizer, 2, gamma=0.5), "epoch"),
    "cosine": (lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS), "epoch"),
    "warm-up": (
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [
                lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2),
                lr_scheduler.StepLR(optimizer, 1),
            ],
            milestones=[2],
        ),
        "epoch",
    ),
    "one cycle": (
        lambda optimizer, n_steps: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=n_steps),
        "step",
    ),
    "restarts": (
        lambda optimizer, n_steps: lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, n_steps // 2
        ),
        "step",
    ),
}


def scheduled(scheduler: Any, **fields: Any) -> Workload:
    return replace(small_workload(), scheduler=scheduler, **fields)


def watched(workload: Workload, n_steps: int = N_STEPS) -> tuple[Stepper, list[float]]:
    """A stepper after the run, and the rate of every step."""
    trial = small_trial(workload, batch_size=8, horizon_steps=N_STEPS)
    stepper = Stepper(workload, trial, CPU)
    rates: list[float] = []
    stepper.optimizer.register_step_pre_hook(
        lambda optimizer, args, kwargs: rates.append(optimizer.param_groups[0]["lr"])
    )
    stepper.steps(stepper.stream(0), n_steps, first_step=0)
    return stepper, rates


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_it_goes_on_where_the_textbook_has_it_go_on(name: str) -> None:
    scheduler, every = SCHEDULERS[name]

    stepper, rates = watched(scheduled(scheduler, scheduler_every=every))

    twin = train_by_the_textbook(
        small_workload(),
        steps_of(small_trial(small_workload(), batch_size=8), epochs=EPOCHS),
        scheduler=partial(scheduler, n_steps=N_STEPS) if every == "step" else scheduler,
        is_scheduled=lambda taken: (
            taken < N_STEPS if every == "step" else taken % STEPS_AN_EPOCH == 0
        ),
    )
    assert rates == twin.rates
    assert len(set(rates)) > 1
    assert_same_weights(stepper.model, twin.model)


def test_several_schedulers_of_several_optimizers_all_go_on() -> None:
    def optimizer(parameters: Any, learning_rate: float) -> Any:
        return {
            "a": torch.optim.SGD(parameters[:2], lr=learning_rate),
            "b": torch.optim.SGD(parameters[2:], lr=learning_rate),
        }

    def step(model: Any, optimizers: Any, batch: Any) -> torch.Tensor:
        for each in optimizers.values():
            each.step()
        return torch.zeros(())

    workload = replace(
        small_workload(optimizer=optimizer),
        step=step,
        scheduler=lambda made: [
            lr_scheduler.ExponentialLR(made["a"], 0.5), lr_scheduler.ExponentialLR(made["b"], 0.1)
        ],
    )  # fmt: skip

    stepper, _ = watched(workload, n_steps=6)

    rates = [each.param_groups[0]["lr"] for each in stepper.optimizers]
    assert rates == pytest.approx([0.025, 0.005])


def plateau(optimizer: Any) -> Any:
    return lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=0, threshold=0.5
    )


class TestPlateau:
    def test_it_goes_by_the_metric_that_counts_at_epoch_ends(self, tmp_path: Path) -> None:
        workload = scheduled(plateau)
        trial = small_trial(workload, batch_size=8, horizon_steps=N_STEPS)

        run = run_engine(workload, trial, RunLength(steps=N_STEPS), checkpoint=tmp_path / "kept")

        twin = plateau(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05))
        for evaluation in run.evaluations:
            if evaluation.step and evaluation.step % STEPS_AN_EPOCH == 0:
                twin.step(evaluation.score("validation", "accuracy"))
        stepper = Stepper(workload, trial, CPU)
        optimizer = stepper.optimizer
        load_checkpoint(
            tmp_path / "kept", model=stepper.model, optimizer=optimizer, beside=stepper.kept
        )
        rate = optimizer.param_groups[0]["lr"]
        assert rate == twin.optimizer.param_groups[0]["lr"] < 0.05

    def test_the_wrong_direction_is_refused(self) -> None:
        workload = scheduled(lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer))

        with pytest.raises(WorkloadError, match="better higher; give it mode='max'"):
            watched(workload, n_steps=1)


def test_what_is_no_scheduler_is_refused() -> None:
    with pytest.raises(WorkloadError, match="`scheduler` returned a float; expected a scheduler"):
        watched(scheduled(lambda optimizer: 0.5), n_steps=1)
