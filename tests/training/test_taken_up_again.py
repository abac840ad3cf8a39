"""Stopped and taken up again, a run ends as one that was not: whatever there is to be lost."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.data_kinds import Streamed, workload_of
from tests.reference.engine_run import assert_a_stop_leaves_no_trace
from tests.reference.small_workloads import (
    CLASSES,
    FEATURES,
    adam,
    cross_entropy,
    everything_workload,
    points,
    small_trial,
    small_workload,
)
from torch import Tensor, nn
from torch.optim import lr_scheduler

from batchlab.records.run import RunLength
from batchlab.training.checkpoint import load_weights
from batchlab.workload.definition import Workload


class Carrying(nn.Module):
    """A recurrent network that keeps its state, of the last batch's shape, in an empty buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(FEATURES, 4)
        self.last = nn.Linear(4, CLASSES)
        self.state: Tensor | None
        self.register_buffer("state", None)

    def forward(self, x: Tensor) -> Tensor:
        state = self.state if self.state is not None and len(self.state) == len(x) else None
        after: Tensor = self.cell(x, state)
        if self.training:
            self.state = after.detach()
        answer: Tensor = self.last(after)
        return answer


class Halved(nn.Module):
    """Weights in 16 bits and complex ones."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, CLASSES, dtype=torch.bfloat16)
        self.phase = nn.Parameter(torch.ones(CLASSES, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.bfloat16()).float() * self.phase.abs()


def truncated_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    optimizer.zero_grad()
    loss = cross_entropy(model, batch)
    loss.backward()
    optimizer.step()
    return loss


def half_precision(parameters: Any, learning_rate: float) -> dict[str, Any]:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=2)
    return {"scaler": scaler, "sgd": torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)}


def scaled_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    sgd, scaler = optimizer["sgd"], optimizer["scaler"]
    sgd.zero_grad()
    loss = cross_entropy(model, batch)
    scaler.scale(loss).backward()
    scaler.step(sgd)
    scaler.update()
    return loss


def gan() -> Workload:
    examples = Path(__file__).parents[2] / "examples"
    found: Workload = runpy.run_path(str(examples / "gan.py"))["workload"]()
    x = found.train[0]
    return replace(found, train=(x[:40],), validation=(x[40:60],), ema=0.9)


def small(**fields: Any) -> Workload:
    return replace(small_workload(), **fields)


def scheduled(scheduler: Callable[..., Any], every: str = "epoch") -> Callable[[], Workload]:
    return partial(small, scheduler=scheduler, scheduler_every=every, optimizer=adam)


def warm_up(optimizer: Any) -> Any:
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2),
        lr_scheduler.StepLR(optimizer, 1),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[2])


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained and where it is stopped."""

    workload: Callable[[], Workload]
    steps: int
    stops: Iterable[int]
    trial: dict[str, Any]


def case(workload: Callable[[], Workload], steps: int, stops: Iterable[int], **trial: Any) -> Case:
    given = {"batch_size": 8, "horizon_steps": steps, **trial}
    return Case(workload=workload, steps=steps, stops=stops, trial=given)


# Dropout, BatchNorm, Adam, tied weights, a buffer in no state dict, a rate's shape, noise.
EVERYTHING = partial(
    case, everything_workload, 28, range(28), batch_size=6, learning_rate=0.02, seed=4
)
BY_EPOCH_AND_STEP = (1, 5, 6, 11)
CASES = {
    "everything": EVERYTHING(micro_batch_size=6),
    "everything in micro-batches": EVERYTHING(micro_batch_size=4),
    "two optimizers and an average": case(gan, 9, (1, 3, 6), horizon_steps=None),
    "a state of the model's own": case(
        partial(small, model=Carrying, step=truncated_step), 9, (1, 3, 6), horizon_steps=None
    ),
    "a gradient scaler": case(
        partial(small, optimizer=half_precision, step=scaled_step), 9, (1, 3, 6), horizon_steps=None
    ),
    "an average": case(
        lambda: replace(everything_workload(), ema=0.9, clip_norm=0.5), 12, (1, 4, 7)
    ),
    "rates by epoch": case(
        scheduled(lambda optimizer: lr_scheduler.StepLR(optimizer, 2, gamma=0.5)),
        20,
        BY_EPOCH_AND_STEP,
    ),
    "rates that warm up": case(scheduled(warm_up), 20, BY_EPOCH_AND_STEP),
    "rates by a metric": case(
        scheduled(
            lambda optimizer: lr_scheduler.ReduceLROnPlateau(
                optimizer, mode="max", factor=0.5, patience=0, threshold=0.5
            )
        ),
        20,
        BY_EPOCH_AND_STEP,
    ),
    "rates by step": case(
        scheduled(
            lambda optimizer, n_steps: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=n_steps),
            "step",
        ),
        20,
        BY_EPOCH_AND_STEP,
    ),
    "a stream": case(
        lambda: workload_of({"train": Streamed(*points(40)), "validation": points(20, seed=1)}),
        8,
        (3,),
        batch_size=12,
        micro_batch_size=5,
        horizon_steps=None,
    ),
}
MARKS = {"everything": pytest.mark.nightly, "everything in micro-batches": pytest.mark.slow}


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("name", [pytest.param(k, marks=MARKS.get(k, ())) for k in CASES])
def test_stopped_anywhere_it_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    given = CASES[name]
    workload = given.workload()

    whole = assert_a_stop_leaves_no_trace(
        workload,
        small_trial(workload, **given.trial),
        RunLength(steps=given.steps),
        tmp_path,
        stops=given.stops,
    )

    assert any(each.startswith("averaged.") for each in whole.tensors) == (workload.ema is not None)


def test_an_average_in_more_digits_is_taken_up_and_handed_out(tmp_path: Path) -> None:
    workload = small(model=Halved, ema=0.99)
    trial = small_trial(workload, batch_size=8, horizon_steps=12)

    whole = assert_a_stop_leaves_no_trace(
        workload, trial, RunLength(steps=12), tmp_path, stops=(5,)
    )

    kept = [part for name, part in whole.tensors.items() if name.startswith("averaged.")]
    assert {part.dtype for part in kept} == {torch.float32, torch.complex64}
    assert {name: part.dtype for name, part in load_weights(tmp_path / "whole")[0].items()} == {
        name: part.dtype for name, part in Halved().state_dict().items()
    }
