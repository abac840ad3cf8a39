"""OwnStepCheck: a step that trains nothing, or hides that it failed, is refused before any run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.reference.small_workloads import cross_entropy, small_mlp, small_workload
from torch import Tensor, nn
from torch.optim import lr_scheduler

from batchlab.errors import WorkloadError
from batchlab.measure.steps_check import check_own_step
from batchlab.workload.definition import Workload


def good(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = cross_entropy(model, batch)
    loss.backward()
    optimizer.step()
    return loss


def no_update(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    loss = cross_entropy(model, batch)
    loss.backward()
    return loss


def no_backward(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    optimizer.step()
    return cross_entropy(model, batch)


def swallows(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    loss = good(model, optimizer, batch)
    return torch.nan_to_num(loss)


def skips_in_silence(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    if not bool(torch.isfinite(cross_entropy(model, batch))):
        return torch.zeros(())
    return good(model, optimizer, batch)


def skips_and_says_so(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    loss = cross_entropy(model, batch)
    return good(model, optimizer, batch) if bool(torch.isfinite(loss)) else loss


def complains(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    loss = good(model, optimizer, batch)
    assert bool(torch.isfinite(loss))
    return loss


SCALER = torch.amp.GradScaler("cpu")


def with_a_scaler_from_outside(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    SCALER.is_enabled()
    return good(model, optimizer, batch)


def checked(workload: Workload) -> int:
    return check_own_step(workload, "cpu", n_examples=8)


def told(workload: Workload) -> str:
    with pytest.raises(WorkloadError) as caught:
        checked(workload)
    return str(caught.value)


@pytest.mark.parametrize("step", [good, skips_and_says_so, complains])
def test_a_step_that_trains_and_shows_a_failure_is_fine(step: Callable[..., Any]) -> None:
    assert checked(replace(small_workload(), step=step)) == 1


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (no_update, "`step` never calls the optimizer: in 20 steps no weight changed"),
        (no_backward, "`step` calls the optimizer, but in 20 steps no weight"),
        (swallows, "`step` hides a failure: with weights that are NaN it returned a loss of 0"),
        (skips_in_silence, "`step` hides a failure"),
    ],
)
def test_others_are_refused_in_one_line(step: Callable[..., Any], expected: str) -> None:
    said = told(replace(small_workload(), step=step))

    assert said.startswith(f"workload 'small': {expected}")
    assert "\n" not in said


def test_what_keeps_a_state_outside_belongs_into_what_the_optimizer_returns() -> None:
    said = told(replace(small_workload(), step=with_a_scaler_from_outside))

    assert "uses a GradScaler that was made outside" in said
    assert '{"optimizer": ..., "gradscaler": ...}' in said


def test_a_frozen_model_from_outside_is_no_such_thing() -> None:
    teacher = small_mlp()

    def distilled(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        optimizer.zero_grad()
        loss = (model(batch[0]) - teacher(batch[0])).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    assert checked(replace(small_workload(), step=distilled)) == 1


def test_a_grad_scaler_may_leave_out_its_first_steps() -> None:
    def optimizer(parameters: Any, learning_rate: float) -> Any:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
        return {"scaler": scaler, "sgd": torch.optim.SGD(parameters, lr=learning_rate)}

    def scaled(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
        loss = cross_entropy(model, batch)
        optimizer["sgd"].zero_grad()
        optimizer["scaler"].scale(100 * loss).backward()  # infinite at first
        optimizer["scaler"].step(optimizer["sgd"])
        optimizer["scaler"].update()
        return loss

    workload = replace(small_workload(optimizer=optimizer), step=scaled)

    assert 1 < checked(workload) < 20


def test_a_schedule_that_begins_with_a_rate_of_zero_is_no_reason() -> None:
    workload = replace(small_workload(), step=good, schedule=lambda fraction: fraction)

    assert checked(workload) == 1


@pytest.mark.parametrize(
    ("fields", "waits"),
    [
        ({"patience_epochs": 3}, "patience_epochs"),
        (
            {"scheduler": lambda made: lr_scheduler.ReduceLROnPlateau(made, mode="max")},
            "its ReduceLROnPlateau",
        ),
    ],
)
def test_what_waits_for_validation_data_needs_some(fields: dict[str, Any], waits: str) -> None:
    workload = replace(small_workload(), validation=None, **fields)

    assert f"{waits} waits for the metric on validation data" in told(workload)
    assert checked(replace(small_workload(), **fields)) == 1
