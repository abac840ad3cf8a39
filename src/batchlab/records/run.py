"""RunRequest, RunLength, Outcome: the request for a training run, its length and its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from batchlab.errors import UsageError
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status, Target, Trial, TrialRecord

AllSplits = Literal["on_the_way", "at_end", "never"]
"""When train and test data are evaluated; "on_the_way": before training, at some epoch ends and at
the end of the run. Every evaluation covers the validation data."""

TrainerName = Literal["fastest", "plain"]
"""The training loop: PyTorch's ("plain"), or the fastest loop whose results agree with PyTorch."""

PlanName = Literal["small", "large", "grow", "decay"]
"""How the batch size changes: "small" or "large" throughout; "grow", from small to large; "decay",
small throughout, with a learning rate that decreases where the batch size of "grow" increases."""

Kind = int | PlanName
"""The constant batch size of a training, or the plan by which its batch size changes."""

BEYOND_ANY_END = 2**62
"""A number of steps or of samples that no run reaches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLength:
    """The limits of a trial's length; the trial ends at the first limit that it reaches.

    At least one limit is given, unless a script runs until it ends by itself (`to_own_end`).

    The length is not part of a trial's identity: a longer run resumes the trial's checkpoint.

    Attributes:
        epochs: passes over the training set.
        steps: optimizer steps.
        until: the target at which the run ends.
        watched_from_samples: up to this many samples, the run is evaluated less often, because the
            target can't be met yet (see `batchlab.plans.cadence`).
        interval_samples: the fewest samples between two evaluations, except before the run's end.
        all_splits: when train and test data are evaluated as well as validation data.
        to_own_end: whether a script runs until it ends by itself; `epochs` and `steps` are ignored.
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
            UsageError: neither epochs nor steps limit the run.
        """
        if self.to_own_end:
            return BEYOND_ANY_END
        limits = []
        if self.epochs is not None:
            limits.append(trial.plan.steps_in(self.epochs))
        if self.steps is not None:
            limits.append(self.steps)
        if not limits:
            raise UsageError(
                "neither epochs nor steps were given, and a target may never be reached; give "
                "epochs or steps too"
            )
        return min(limits)


OUT_OF_TIME = Reason.of("out_of_time")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """The request for one training run: a trial and its length.

    Attributes:
        trial: the trial to run.
        length: the limits of the run's length.
    """

    trial: Trial
    length: RunLength

    @property
    def last_step(self) -> int:
        """The step at which the run ends at the latest."""
        return self.length.last_step(self.trial)

    def opening(self, engine: str) -> TrialRecord:
        """Return the trial's record before the first step, without status and evaluations."""
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
        """Return the record of a trial that never began, because the budget had ended."""
        return replace(self.opening(engine), status=Status.TIMEOUT, reason=OUT_OF_TIME)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended, as stored in its trial's record.

    Attributes:
        status: the trial's status, or None if the run was stopped on request and can be resumed.
        reason: why the run ended badly, or None if it ended well.
        traceback: the whole traceback of an error, or None.
        peak_bytes: peak memory of the process above an idle process, or None if not known.
        notes: what a reader of the record must know about the end of the run.
        engine: the engine's name at the run's end; None if it is the name in the trial's record.
        place: the processor or GPU that the run used last, or None if unknown.
    """

    status: Status | None
    reason: Reason | None = None
    traceback: str | None = None
    peak_bytes: int | None = None
    notes: tuple[Reason, ...] = ()
    engine: str | None = None
    place: str | None = None

    def ends(self, begun: TrialRecord) -> TrialRecord:
        """Return the record of a run that ended with this outcome; `begun` is its first record."""
        return replace(
            begun,
            status=self.status,
            reason=self.reason,
            traceback=self.traceback,
            engine=self.engine or begun.engine,
            peak_bytes=self.peak_bytes,
            place=self.place,
            notes=(*begun.notes, *self.notes),
        )
