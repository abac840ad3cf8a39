"""Measurement: a quantity measured during training. Moment: a training's state at a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from batchlab.records.estimate import Reason
from batchlab.records.quantities import Quantity
from batchlab.records.trial import Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """The state of a training after a step, for measurements to read but not to change.

    Attributes:
        model: an `nn.Module` in training mode.
        initial: the parameters before the first step, in the order of `model.parameters()`.
        workload: the `Workload` that is trained.
        device: the `torch.device` of the model.
        trial: the trial that is trained, with its batch size and micro-batch size.
        step: the number of steps taken; 0 at the initial weights.
        is_end: whether an epoch or the run ends at this step.
        is_last: whether `step` is 0 or the run's requested last step.
    """

    model: Any
    initial: Sequence[Any]
    workload: Any
    device: Any
    trial: Trial
    step: int
    is_end: bool
    is_last: bool


AtStep = Callable[[Moment], float | None]
AtSteps = dict[str, AtStep]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """A quantity that can be measured on a model during training, and how reports show it.

    Attributes:
        quantity: the name in records, the unit and the label.
        on_request: whether the quantity is measured only if the user requests it, because it is
            costly. Requested quantities are measured at the start and the end of the run, and at
            epoch ends unless `figure` is "at_the_end". Quantities that need no request are measured
            at every evaluation after step 0.
        figure: the figure that shows the quantity: "along_training" (by step), "at_the_start" or
            "at_the_end" (by batch size); None if only the CSV file contains the quantity.
        notes: sentences below the figure that explain the quantity and cite its source.
    """

    quantity: Quantity
    figure: str | None = None
    on_request: bool = False
    notes: tuple[Reason, ...] = ()
