"""Measurement: the description of one measured quantity, and the state that it is taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchlab.records.quantities import Quantity
from batchlab.records.study import Study
from batchlab.records.trial import Trial, TrialRecord


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
# A number and the values that it was computed from, or None if the number was not measured.
OfBatchSize = Callable[[Study, int], tuple[float, tuple[float, ...]] | None]
OfTrial = Callable[[TrialRecord], float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One measured quantity.

    Attributes:
        quantity: its name in records, unit and label.
        on_request: whether it is so costly that it is taken only if it is asked for by name, and of
            a model only at the initial weights, at the ends of epochs, and at the end. Others are
            taken at every evaluation after the first step.
        at_ends: whether one on request is so costly that the epoch ends in between are left out.
        figure: the figure that shows it, or None if only the CSV has it. One of a model at a step
            has "along_training", or "at_the_start" or "at_the_end" by batch size.
        of_batch_size: what a study's records say about a batch size; None if it is measured on the
            model at a step.
        of_trial: what a trial's record says about it, a column of the table of trials, if it does.
        short: its header if there is little room; None for the quantity's label.
        expected: what theory expects from the values by batch size in a study, drawn as a dashed
            line next to them; None for no line.
        notes: what a reader must know about it, in sentences under its figure; if it is measured
            on the model, what it is, with the address of its source.
    """

    quantity: Quantity
    figure: str | None = None
    on_request: bool = False
    at_ends: bool = False
    of_batch_size: OfBatchSize | None = None
    of_trial: OfTrial | None = None
    short: str | None = None
    expected: ExpectedValues | None = None
    notes: Callable[[Study], Iterator[str]] = lambda study: iter(())

    def value_of(self, study: Study, batch_size: int) -> float | None:
        """Return the value for a batch size; None if unmeasured, or not per batch size."""
        if self.of_batch_size is None:
            return None
        numbers = self.of_batch_size(study, batch_size)
        return numbers and numbers[0]
