"""RunRequest, RunEnd, RunLength: a training run as an engine is asked for it, and its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from batchlab.errors import UsageError
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status, Target, Trial, TrialRecord

AllSplits = Literal["on_the_way", "at_end", "never"]
"""When train and test data are evaluated too: before training, at some epoch ends and at the end of
the run; only at the end of the run; never. Validation data are evaluated at every pause."""

TrainerName = Literal["fastest", "plain"]
"""What takes the steps of trials: PyTorch's own loop ("plain"), or what is fastest and agrees."""

PlanName = Literal["small", "large", "grow", "decay"]
"""A small or a large batch size throughout, one that grows from the small to the large one, and the
small one whose rate is cut where that one grows."""

Kind = int | PlanName
"""The batch size of a training, or the plan that changes it on the way."""

_BEYOND_ANY_END = 2**62
UNWATCHED = _BEYOND_ANY_END
"""The `RunLength.watched_from_samples` of a run that waits for no level: seldom evaluated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLength:
    """The length of a trial, which ends at the first of its limits. At least one is given.

    A script may run to its own end instead, which nobody knows beforehand.

    It is not part of a trial's identity: a trial asked for more goes on from its checkpoint.

    Attributes:
        epochs: passes over the training set.
        steps: optimizer steps.
        until: the target at which it ends.
        watched_from_samples: before this many samples it is evaluated less often, because the
            target can't be met there (see `batchlab.plans.cadence`).
        interval_samples: the least distance between evaluations, except before the run's last.
        all_splits: when train and test data are evaluated as well as validation data.
        to_own_end: whether it runs until it ends by itself, without epochs and steps.
    """

    epochs: int | None = None
    steps: int | None = None
    until: Target | None = None
    watched_from_samples: int = 0
    interval_samples: int = 0
    all_splits: AllSplits = "on_the_way"
    to_own_end: bool = False

    def last_step(self, trial: Trial) -> int:
        """Return the step at which a run of `trial` ends at the latest.

        Raises:
            UsageError: neither epochs nor steps limit it.
        """
        if self.to_own_end:
            return _BEYOND_ANY_END
        limits = []
        if self.epochs is not None:
            limits.append(trial.plan.steps_in(self.epochs))
        if self.steps is not None:
            limits.append(self.steps)
        if not limits:
            raise UsageError(
                "neither epochs nor steps were given: a target alone may never be reached; give "
                "one of them as well"
            )
        return min(limits)


OUT_OF_TIME = Reason.of("out_of_time")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """One training run to ask an engine for: which trial, and how far.

    Attributes:
        trial: what to train.
        length: how far; limited in steps or epochs.
    """

    trial: Trial
    length: RunLength

    @property
    def last_step(self) -> int:
        """The step at which the run ends at the latest."""
        return self.length.last_step(self.trial)

    def opening(self, engine: str) -> TrialRecord:
        """Return the record that the trial begins with at that engine."""
        return TrialRecord(
            trial=self.trial,
            status=None,
            engine=engine,
            threads=1,
            versions=(),
            target=self.length.until,
            evaluations=(),
            peak_bytes=None,
        )

    def never_begun(self, engine: str) -> TrialRecord:
        """Return the record if the budget ended before its turn at that engine came."""
        return replace(self.opening(engine), status=Status.TIMEOUT, reason=OUT_OF_TIME)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEnd:
    """The end of a run: the request, and the whole record of its trial as it ended.

    Attributes:
        request: what was asked.
        record: the trial with its status for what was asked, and everything seen until then.
    """

    request: RunRequest
    record: TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsAsked:
    """The training runs that an advice waits for.

    Attributes:
        batch_sizes: those of the runs, ascending.
        learning_rates: those of the runs, ascending; each batch size may have its own.
        seeds: those of the runs, ascending.
        why: why they were asked for.
    """

    batch_sizes: tuple[int, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    why: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The end of a run, as a trial's record keeps it.

    Attributes:
        status: its status, or None if it was asked to stop and can go on.
        reason: why it ended badly, or None if it ended well.
        traceback: the whole report of an error.
        peak_bytes: peak memory of its process above the idle process, or None if not known.
        notes: what a reader of its record must know about its end.
        engine: what took its steps, or None for what it began with.
        place: the processor or GPU that it ended on, or None if not known.
    """

    status: Status | None
    reason: Reason | None = None
    traceback: str | None = None
    peak_bytes: int | None = None
    notes: tuple[Reason, ...] = ()
    engine: str | None = None
    place: str | None = None
