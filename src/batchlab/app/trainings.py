"""Trainings: the time limit of a budget that is given as a number of trainings."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import cached_property

from batchlab.advice.advice import Configuration
from batchlab.advice.level import has_settled
from batchlab.app.subject import Subject
from batchlab.errors import BudgetError, WorkloadError
from batchlab.laws.plateau import plateau_of
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Trial, TrialRecord
from batchlab.runs.contract import RunPlan, run_all
from batchlab.store.store import Store
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text

TARGET = "setting the target"
FIRST_LOOK_S = 60.0
_FIRST_EPOCHS = 4  # of the first try; doubled until the training reaches its target or plateau
# The largest share of the budget for start, timing and report; a larger share raises an error.
_MOST_FOR_THE_REST = 0.5


def run_plan(subject: Subject) -> RunPlan:
    """Return a plan for an advice's runs, with a clock that starts now and no time limit."""
    question = subject.question
    return RunPlan(
        trial=subject.reference,
        device=question.device,
        listener=question.listener,
        started_s=time.monotonic(),
        budget_s=None,
        trainer=question.trainer,
        settings_rule=subject.settings_rule,
    )


class TrainingsLimit:
    """Sets an advice's time limit from `trainings`; does nothing if `trainings` is not given."""

    def __init__(self, store: Store, subject: Subject) -> None:
        """Store the arguments without measuring anything."""
        self._store = store
        self._subject = subject
        self._question = subject.question

    def set_by_a_first_look(self) -> None:
        """Time a step to set the limit; refuse if start and timing took over half of the limit."""
        trainings, budget = self._question.trainings, self._question.budget
        if trainings is None:
            return
        first = self._subject.timed(self._subject.reference, timeout_s=FIRST_LOOK_S)
        if first.value is None:
            return  # the profile will raise the error
        began_s = time.monotonic()
        self.set(self._subject.reference, first.value.step_s)
        allowed_s = budget.allowed_s
        # Exclude the time of the training in `set`, as the study reuses that training's record.
        rest_s = allowed_s - budget.time_limit_s() - (time.monotonic() - began_s)
        if rest_s > _MOST_FOR_THE_REST * allowed_s:
            least = trainings * rest_s / (_MOST_FOR_THE_REST * allowed_s)
            raise BudgetError(
                f"{trainings:g} trainings take {allowed_s:.3g} s here, and starting, timing "
                f"and the report alone {rest_s:.3g} s; give --trainings {math.ceil(least)} or "
                f"more, or a time with --budget"
            )

    def set(self, own: Trial | Configuration, step_s: float) -> None:
        """Set the limit to `trainings` x steps per training x `step_s` (of one step of `own`)."""
        if self._question.trainings is None:
            return
        plan = replace(self._subject.reference, batch_size=own.batch_size).plan
        n_steps = plan.steps_in(self._epochs_of_one)
        self._question.budget.limit(self._question.trainings * (n_steps * step_s))

    @cached_property
    def _epochs_of_one(self) -> float:
        """The epochs of one training: the planned epochs, or else found by training the reference.

        That training ends at the target, at a plateau, or where a script ends by itself.
        """
        subject = self._subject
        if subject.epochs is not None:
            return subject.epochs
        engine = subject.engine(self._store, run_plan(subject))
        self._question.listener.phase(text(TARGET))
        length = RunLength(epochs=_FIRST_EPOCHS, until=subject.target, all_splits="never")
        if subject.summary.is_own_command:
            length = replace(length, epochs=None, to_own_end=True)
        while True:
            (record,) = run_all(engine, [RunRequest(trial=subject.reference, length=length)])
            if record.has_failed:
                raise WorkloadError(
                    f"{self._question.trainings:g} trainings: how long one takes is not known, for "
                    f"the first failed ({reason_text(record.reason)}); give a time with --budget"
                )
            last = length.last_step(subject.reference)  # a stored record may be longer
            until_then = tuple(e for e in record.evaluations if e.step <= last)
            end = self._end_of(replace(record, evaluations=until_then))
            if end is not None or length.epochs is None:
                return end or record.epochs
            length = replace(length, epochs=2 * length.epochs)

    def _end_of(self, record: TrialRecord) -> float | None:
        """Return the epochs after which a run reached its target, plateau or own end, else None."""
        target = self._subject.target
        if target is not None:
            crossing = record.crossing(target)
            if crossing is not None and crossing.held:
                return record.trial.plan.epoch_at(crossing.step)
        plateau = plateau_of(record, metric=self._subject.metric, better=self._subject.better)
        is_flat = has_settled(record, plateau) and not plateau.worsens
        if is_flat or record.has_ended_itself:
            return record.epochs
        return None
