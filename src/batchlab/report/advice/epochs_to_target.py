"""EpochsToTarget: how many epochs a batch size takes to the target, as far as its runs show it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from batchlab.advice.advice import Advice, RateTried
from batchlab.advice.decision import scaled
from batchlab.records.estimate import Estimate
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.report.advice.rows import is_raced, is_same_rate, runs_of

_BAD_ENDS = frozenset(
    status.value for status in Status if not status.ended_well and status is not Status.TIMEOUT
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochsToTarget:
    """The epochs of one batch size to the target, at the rate that is best known for it.

    Attributes:
        batch_size: examples per step.
        learning_rate: its rate.
        estimate: with its 95 % interval; of single runs their mean without one; None: no run met
            the target.
        met: of its single runs that met the target, after how many epochs.
        missed: of those that had not, how many epochs they had.
        is_estimated: whether the estimate is the advice's own, rather than a mean of single runs.
    """

    batch_size: int
    learning_rate: float
    estimate: Estimate | None
    met: tuple[float, ...]
    missed: tuple[float, ...]
    is_estimated: bool

    @property
    def enough(self) -> float | None:
        """How many epochs are enough; None where that is not known, for a run missed the target."""
        if self.estimate is None or (self.missed and not self.is_estimated):
            return None
        return self.estimate.estimate


def epochs_to_target(advice: Advice, study: Study) -> tuple[EpochsToTarget, ...]:
    """The epochs of every batch size that was trained, ascending; none without a target.

    What was estimated comes first: of the recommendation as it was verified, of others at their
    tuned rate. Where nothing was, single runs stand in, also those that chose the rate: of the
    rate that is named, or else of the one that got there on most seeds and soonest.

    Args:
        advice: the answer, with its runs.
        study: the trials of these runs, which know the steps of an epoch.
    """
    if advice.target is None:
        return ()
    per_epoch = {r.trial.batch_size: r.trial.plan.steps_in(1) for r in study.records}
    found = (_of_size(advice, size, per_epoch[size]) for size in sorted(per_epoch))
    return tuple(each for each in found if each is not None)


def _of_size(advice: Advice, size: int, per_epoch: int) -> EpochsToTarget | None:
    estimated = _estimated(advice, size, per_epoch)
    if estimated is not None:
        rate, estimate = estimated
        return _told(size, rate, runs_of(advice, size, rate), per_epoch, estimate)
    runs = [
        run
        for run in advice.tried
        if run.batch_size == size and run.purpose != "cool_down" and run.steps
        if run.status not in _BAD_ENDS
    ]
    met = [run.learning_rate for run in runs if run.steps_to_target is not None]
    if not met:
        if not runs:
            return None
        longest = max(runs, key=lambda run: (run.steps, _best(advice, run)))
        return _told(size, longest.learning_rate, [longest], per_epoch)
    rate = _known_rate(advice, size, met) or min(met, key=lambda rate: _order(_at(runs, rate)))
    return _told(size, rate, _at(runs, rate), per_epoch)


def _estimated(advice: Advice, size: int, per_epoch: int) -> tuple[float, Estimate] | None:
    """The rate and the epochs that the answer has for a batch size."""
    found = advice.recommendation
    if found is not None and found.batch_size == size and advice.expected is not None:
        expected = advice.expected.epochs_to_target
        if expected.estimate is not None:
            return found.learning_rate, expected
    candidate = advice.candidate(size)
    if candidate is None or candidate.learning_rate is None or is_raced(advice):
        return None
    if candidate.steps_to_target.estimate is None:
        return None
    return candidate.learning_rate, scaled(candidate.steps_to_target, 1 / per_epoch)


def _known_rate(advice: Advice, size: int, rates: Iterable[float]) -> float | None:
    """The one of these rates that the answer has for a batch size; None: it has none of them."""
    known = list(rates)
    for rate in answered_rates(advice, size):
        same = [each for each in known if is_same_rate(each, rate)]
        if same:
            return same[0]
    return None


def answered_rates(advice: Advice, batch_size: int) -> list[float]:
    """The rates that the answer has for a batch size, the one that counts most first."""
    candidate = advice.candidate(batch_size)
    configurations = [
        found.learning_rate
        for found in (advice.named, advice.reference_tuned)
        if found is not None and found.batch_size == batch_size
    ]
    tuned = None if candidate is None else candidate.learning_rate
    return [*configurations, *([] if tuned is None else [tuned])]


def _at(runs: Iterable[RateTried], rate: float) -> list[RateTried]:
    """The runs at one rate; where some were on fresh seeds, these."""
    same = [run for run in runs if is_same_rate(run.learning_rate, rate)]
    return [run for run in same if run.purpose in ("value", "verify")] or same


def _order(runs: list[RateTried]) -> tuple[float, float]:
    """First what got there on most seeds, then what did so soonest."""
    steps = [run.steps_to_target for run in runs if run.steps_to_target is not None]
    return -len(steps) / len(runs), statistics.fmean(steps) if steps else 0.0


def _best(advice: Advice, run: RateTried) -> float:
    """How good the metric got, signed so that higher is better."""
    if run.best_value is None:
        return -math.inf
    return run.best_value if advice.better == "higher" else -run.best_value


def _told(
    size: int,
    rate: float,
    runs: Iterable[RateTried],
    per_epoch: int,
    estimate: Estimate | None = None,
) -> EpochsToTarget:
    met, missed = [], []
    for run in runs:
        if run.steps_to_target is not None:
            met.append(run.steps_to_target / per_epoch)
        elif run.steps:
            missed.append(run.steps / per_epoch)
    mean = Estimate.of(statistics.fmean(met), interval=(None, None), n=len(met)) if met else None
    return EpochsToTarget(
        batch_size=size,
        learning_rate=rate,
        estimate=estimate or mean,
        met=tuple(met),
        missed=tuple(missed),
        is_estimated=estimate is not None,
    )
