"""Quantities and measurements: what one measured quantity is, needs and costs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from batchlab.records.quantities import Quantity
from batchlab.records.study import Study
from batchlab.records.trial import Trial, TrialRecord

OverSeeds = Literal["mean", "largest", "median"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A training at a step, as a measurement sees it; it changes nothing of it.

    Attributes:
        model: an `nn.Module` in training mode, with the gradients of the last step.
        initial: the parameters as they were before the first step, in the order of
            `model.parameters()`.
        before: the parameters as they were before the last step; empty before the first one,
            and where a run was taken up again right here.
        workload: what is trained, a `Workload`.
        device: where the model is, a `torch.device`.
        trial: what is trained: its batch size and how it is cut.
        step: steps taken; 0: the initial weights.
        is_end: whether an epoch ends here, or the run does.
        is_last: whether the run ends here as it was asked for, or has not begun.
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


Expected = Callable[[Mapping[int, float], Study], dict[int, float]]
AtStep = Callable[[Moment], float | None]
AtSteps = dict[str, AtStep]
# One number, and those that it was taken from; None: not measured.
OfBatchSize = Callable[[Study, int], tuple[float, tuple[float, ...]] | None]
OfTrial = Callable[[TrialRecord], float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One measured quantity.

    Attributes:
        quantity: its name in records, unit and label.
        cost: one line for a person: what taking it costs.
        on_request: whether it costs so much that it is taken only where it was asked for by name,
            and of a model only at the initial weights, where an epoch ends, and at the end. Others
            are taken at every evaluation after the first step.
        at_ends: of those on request, whether it costs so much that the epochs' ends between are
            left out.
        over_seeds: how the values of several seeds become one.
        figure: the figure that shows it; None: none, the CSV alone has it. Of a model at a step:
            "along_training", or "at_the_start" or "at_the_end" by batch size.
        of_batch_size: what a study's records say of a batch size; None: it is taken of the model
            at a step.
        of_trial: what a trial's record says of it, a column of the table of trials; None: nothing.
        short: its header where room is scarce; None: the quantity's label.
        expected: what theory makes of the values by batch size in a study, a dashed
            line beside them; None: no line.
        notes: what a reader must know of it, in sentences under its figure; where it is taken of
            the model, what it is, with the address of its source.
    """

    quantity: Quantity
    cost: str
    over_seeds: OverSeeds
    figure: str | None
    on_request: bool = False
    at_ends: bool = False
    of_batch_size: OfBatchSize | None = None
    of_trial: OfTrial | None = None
    short: str | None = None
    expected: Expected | None = None
    notes: Callable[[Study], Iterator[str]] = lambda study: iter(())

    def value_of(self, study: Study, batch_size: int) -> float | None:
        """Its one number for a batch size of a study; None: not measured, or not of batch sizes."""
        found = None if self.of_batch_size is None else self.of_batch_size(study, batch_size)
        return None if found is None else found[0]

    def of_seeds(self, values: Sequence[float]) -> float:
        """One value for several seeds, of at least one."""
        return _SUMMED_UP[self.over_seeds](values)


_SUMMED_UP: dict[OverSeeds, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "largest": max,
    "median": statistics.median,
}
