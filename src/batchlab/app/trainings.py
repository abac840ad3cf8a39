"""Trainings: the length of one training, for a budget given as a number of trainings."""

from __future__ import annotations

import time
from dataclasses import replace

from batchlab.advice.level import has_settled
from batchlab.app.subjects import AnySubject
from batchlab.errors import WorkloadError
from batchlab.laws.plateau import plateau_of
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import RunPlan, run_all
from batchlab.store.store import Store
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text

TARGET = "setting the target"
_FIRST_EPOCHS = 4  # of the first try; doubled until the training reaches its target or plateau


def run_plan(subject: AnySubject) -> RunPlan:
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


def epochs_of_one_training(subject: AnySubject, store: Store) -> float:
    """Return the planned epochs of one training, or else find them by training the reference.

    That training ends at the target, at a plateau, or where a script ends by itself.
    """
    question = subject.question
    if subject.epochs is not None:
        return subject.epochs
    engine = subject.engine(store, run_plan(subject))
    question.listener.phase(text(TARGET))
    length = RunLength(epochs=_FIRST_EPOCHS, until=subject.target, all_splits="never")
    if subject.summary.is_own_command:
        length = replace(length, epochs=None, to_own_end=True)
    while True:
        (record,) = run_all(engine, [RunRequest(trial=subject.reference, length=length)])
        if record.has_failed:
            raise WorkloadError(
                f"{question.trainings:g} trainings: how long one takes is not known, for "
                f"the first failed ({reason_text(record.reason)}); give a time with --budget"
            )
        last = length.last_step(subject.reference)  # a stored record may be longer
        until_then = tuple(e for e in record.evaluations if e.step <= last)
        end = _end_of(subject, replace(record, evaluations=until_then))
        if end is not None or length.epochs is None:
            return end or record.epochs
        length = replace(length, epochs=2 * length.epochs)


def _end_of(subject: AnySubject, record: TrialRecord) -> float | None:
    """Return the epochs after which a run reached its target, plateau or own end, else None."""
    if subject.target is not None:
        crossing = record.crossing(subject.target)
        if crossing is not None and crossing.held:
            return record.trial.plan.epoch_at(crossing.step)
    plateau = plateau_of(record, metric=subject.metric, better=subject.better)
    is_flat = has_settled(record, plateau) and not plateau.worsens
    if is_flat or record.has_ended_itself:
        return record.epochs
    return None
