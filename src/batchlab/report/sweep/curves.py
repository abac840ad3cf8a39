"""Curve: a metric along training, averaged over the seeds of a cell or of one trial alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from batchlab.records.measurement import Measurement
from batchlab.records.study import StepTiming
from batchlab.records.trial import Split, TrialRecord
from batchlab.report.parts.spread import Spread
from batchlab.report.sweep.cells import Cell


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """A metric at one place of the training.

    Attributes:
        step: optimizer steps done; 0 is the untrained model.
        epoch: the same place in passes over the training set.
        equal_time_s: steps times the step time measured alone, None: that was not measured.
        spread: the metric, one value per seed.
    """

    step: int
    epoch: float
    equal_time_s: float | None
    spread: Spread


@dataclass(frozen=True, kw_only=True, slots=True)
class LoneCurve:
    """The curve of one trial that cannot be averaged, or its part beyond the shared one.

    Attributes:
        record: the trial.
        points: its points, each of one seed.
    """

    record: TrialRecord
    points: tuple[CurvePoint, ...]


def measured_along(cell: Cell, measurement: Measurement) -> dict[int, float]:
    """`measured_in_seeds`, one value a step."""
    points = measured_in_seeds(cell, measurement)
    return {point.step: measurement.of_seeds(point.spread.values) for point in points}


def measured_in_seeds(cell: Cell, measurement: Measurement) -> tuple[CurvePoint, ...]:
    """What was measured of the models at each step that every trial that ended well has reached.

    A step where a seed has no number is left out, as in `mean_curve`.
    """
    name = measurement.quantity.name
    known = [
        {
            evaluation.step: value
            for evaluation in record.evaluations
            if (value := evaluation.measurement(name)) is not None
        }
        for record in cell.ended_well
    ]
    return _shared_points(cell, known, None)


def measured_last(cell: Cell, measurement: Measurement) -> Spread | None:
    """What was measured last after a step of each trial that ended well; None: nothing of any."""
    return _one_a_trial(cell, measurement, lambda step: step > 0)


def measured_first(cell: Cell, measurement: Measurement) -> Spread | None:
    """What was measured of the initial weights of each trial that ended well; None: of none."""
    return _one_a_trial(cell, measurement, lambda step: step == 0)


def _one_a_trial(
    cell: Cell, measurement: Measurement, is_meant: Callable[[int], bool]
) -> Spread | None:
    """The last value of each trial at a step that is meant."""
    name = measurement.quantity.name
    found = []
    for record in cell.ended_well:
        values = [
            evaluation.measurement(name)
            for evaluation in record.evaluations
            if is_meant(evaluation.step)
        ]
        found += [value for value in values if value is not None][-1:]
    return Spread(values=tuple(found)) if found else None


def mean_curve(
    cell: Cell, split: Split, metric: str, timing: StepTiming | None
) -> tuple[CurvePoint, ...]:
    """The places that every trial that ended well has reached, with one value per seed.

    A place that only some seeds reached is left out: a mean over fewer seeds would jump there.
    """
    known = [
        {evaluation.step: value for evaluation, value in record.curve(split, metric)}
        for record in cell.ended_well
    ]
    return _shared_points(cell, known, timing)


def lone_curves(
    cell: Cell, split: Split, metric: str, timing: StepTiming | None
) -> tuple[LoneCurve, ...]:
    """The curves that are drawn one by one.

    These are the trials that ended badly or have not ended, and what a trial that ended well has
    beyond the last place that all its seeds reached.
    """
    shared = mean_curve(cell, split, metric, timing)
    last_shared = shared[-1].step if shared else -1
    found = []
    for record in cell.records:
        averaged_to = last_shared if record in cell.ended_well else -1
        points = tuple(
            _point(cell, evaluation.step, (value,), timing)
            for evaluation, value in record.curve(split, metric)
            if evaluation.step >= averaged_to
        )
        if points and points[-1].step > averaged_to:
            found.append(LoneCurve(record=record, points=points))
    return tuple(found)


def thinned(points: tuple[CurvePoint, ...], most: int) -> tuple[CurvePoint, ...]:
    """At most `most` of the points, evenly spaced in number, first and last among them."""
    if len(points) <= most:
        return points
    last = len(points) - 1
    return tuple(points[round(i * last / (most - 1))] for i in range(most))


def _shared_points(
    cell: Cell, by_seed: Sequence[Mapping[int, float]], timing: StepTiming | None
) -> tuple[CurvePoint, ...]:
    """The steps that all seeds have; by_seed: of each, values by step."""
    if not by_seed:
        return ()
    shared = set(by_seed[0]).intersection(*by_seed[1:])
    return tuple(
        _point(cell, step, tuple(values[step] for values in by_seed), timing)
        for step in sorted(shared)
    )


def _point(
    cell: Cell, step: int, values: tuple[float, ...], timing: StepTiming | None
) -> CurvePoint:
    return CurvePoint(
        step=step,
        epoch=cell.records[0].trial.plan.epoch_at(step),
        equal_time_s=None if timing is None else step * timing.step_s,
        spread=Spread(values=values),
    )
