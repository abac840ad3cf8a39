"""Measurement: the description of one measured quantity, and the state that it is taken from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchlab.records.estimate import Reason
from batchlab.records.quantities import Quantity
from batchlab.records.study import Study
from batchlab.records.trial import Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A training at a step, as a measurement sees it without changing anything.

    Attributes:
        model: an `nn.Module` in training mode, with the gradients of the last step.
        initial: the parameters as they were before the first step, in the order of
            `model.parameters()`.
        before: the parameters as they were before the last step; empty before the first one,
            and if a run was resumed right here.
        workload: what is trained, a `Workload`.
        device: where the model is, a `torch.device`.
        trial: the trial that is trained, with its batch size and micro-batch size.
        step: the number of steps taken; 0 at the initial weights.
        is_end: whether an epoch or the run ends here.
        is_last: whether the run has reached the requested end, or has not begun.
    """

    model: Any
    initial: Sequence[Any]
    before: Sequence[Any]
    workload: Any
    device: Any
    trial: Trial
    step: int
    is_end: bool
    is_last: bool


ExpectedValues = Callable[[Mapping[int, float], Study], dict[int, float]]
AtStep = Callable[[Moment], float | None]
AtSteps = dict[str, AtStep]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One quantity that is measured of a model at a step.

    Attributes:
        quantity: its name in records, unit and label.
        on_request: whether it is so costly that it is taken only if it is asked for by name, and of
            a model only at the initial weights, at the ends of epochs, and at the end. Others are
            taken at every evaluation after the first step.
        at_ends: whether one on request is so costly that the epoch ends in between are left out.
        figure: how a figure shows it: "along_training", or "at_the_start" or "at_the_end" by batch
            size; None if only the CSV has it.
        expected: what theory expects from the values by batch size in a study, drawn as a dashed
            line next to them; None for no line.
        notes: what it is, in sentences under its figure, with the address of its source.
    """

    quantity: Quantity
    figure: str | None = None
    on_request: bool = False
    at_ends: bool = False
    expected: ExpectedValues | None = None
    notes: tuple[Reason, ...] = ()
