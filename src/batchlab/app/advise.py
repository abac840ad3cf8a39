"""Advising: `batchlab.advise`, which batch size to use, measured here and within a budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Literal

from batchlab.advice.advice import Advice, Objective
from batchlab.app.advice_session import AdviceSession, stages_of
from batchlab.app.options import leave_out_last_batches, options_of, reference_of
from batchlab.app.public_call import public_call
from batchlab.app.question import Question, asked
from batchlab.app.report import Advised
from batchlab.app.subject import Subject
from batchlab.app.subjects import subject_of
from batchlab.errors import ProfileError, UsageError
from batchlab.machine import environment
from batchlab.measure.profile import Profile
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import TrainerName
from batchlab.records.trial import Sampling, Setting, Target, Trial
from batchlab.runs.cluster import Cluster
from batchlab.runs.replay import StudyName
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.version import __version__
from batchlab.workload.definition import Workload


@public_call
def advise(
    workload: Workload | TrainingCommand | str = "mnist-mlp",
    *,
    objective: Objective = "time",
    target: tuple[str, float] | None = None,
    margin: float | None = None,
    budget: str | float | None = None,
    trainings: float | None = None,
    batch_sizes: Sequence[int | Literal["full"]] | None = None,
    epochs: int | None = None,
    train_s: float | None = None,
    memory_limit_bytes: int | None = None,
    profile: Profile | str | Path | None = None,
    settings: Mapping[str, Setting] | None = None,
    sampling: Sampling = "reshuffle",
    drop_last: bool = False,
    device: str = "cpu",
    trainer: TrainerName = "fastest",
    cluster: Cluster | None = None,
    store: str | Path = "batchlab.db",
    command: str | None = None,
    listener: ProgressListener | None = None,
    reserved_s: float = 0.0,
) -> Advice:
    """Which batch size to train `workload` with, and what to set with it.

    Profiles the batch sizes, then trains what promises most for its time until the budget is spent
    or nothing promises enough. What the store already holds is not trained again; after an
    interruption the same call goes on, and once it has answered it gives the same answer at once.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        objective: "time" (least time to the target), "samples" (the largest batch size that needs
            hardly more examples) or "quality" (the best validation metric after `epochs` or
            `train_s`).
        target: (metric, value) on validation data that counts as trained; None: the workload's
            own, or what a pilot run of the reference reaches.
        margin: how much worse a training may end and still count as ending as well, in the unit of
            the metric that counts, > 0; None: 5 % of what was learned or of the remaining errors,
            whichever is less.
        budget: a ceiling on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds; None: three minutes, or what `trainings` take.
        trainings: the ceiling, instead of `budget`, in trainings of the reference as it is,
            without their evaluations; > 0. How long one takes is measured first: to its planned
            end, or where none is planned to the target, or to its plateau.
        batch_sizes: the candidates, each 1 to N, or "full" for N, and the workload's own; None:
            powers of two from 8.
        epochs: no run goes further than this many passes, >= 1; None: the workload's own, or as
            the budget allows. For quality, and where the rate has a shape of its own, 10.
        train_s: with quality: compare after so many seconds of training (steps times the step time
            measured alone) instead of `epochs`, > 0.
        memory_limit_bytes: answer as if the device had no more, in bytes; None: what it has.
        profile: of another machine, or the file of one: step times and memory from there, steps to
            the target from here.
        settings: of the workload or its optimizer.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: leave out a smaller last batch of an epoch.
        device: "cpu", "cuda" or "cuda:1".
        trainer: "fastest": small models on a CPU are trained in C made for them, which agrees with
            PyTorch but for rounding; "plain": PyTorch's own loop trains all.
        cluster: a Ray cluster that takes the trials; steps are timed on this machine, or come from
            `profile`. None: this machine does.
        store: the SQLite file; made if missing.
        command: the command line to be stored with the study; None: a description of the call.
        listener: told how it gets on; None: the cell of the notebook that asks, if one does.
        reserved_s: the part of the budget that the caller needs for what it does around the call.

    Returns:
        The advice: a verdict with its evidence.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        WorkloadError: the workload cannot be loaded, or trained at any batch size.
        ProfileError: `profile` is no profile, or one of another workload.
        StoreError: the store cannot be used.
        ClusterError: the cluster cannot be reached, or none of its nodes can train it.
        BudgetError: the budget is too small for a profile.
        KeyboardInterrupt: after everything has been stored.
    """
    return advised(asked("advise", **locals())).advice


def advised(question: Question) -> Advised:
    """What `advise` does, with the runs and the profile that its answer rests on."""
    subject = subject_of(question)
    question.listener.begins(command="advise", subject=subject.name, stages=())
    subject.planned(lambda: _check(subject))
    return advised_about(subject)


def _check(subject: Subject) -> None:
    """Refuse what cannot be answered about it."""
    question, summary = subject.question, subject.summary
    if not summary.has_validation:
        raise UsageError(
            f"workload {summary.name!r} has no validation set, by which runs are compared; give "
            f'it one, or leave validation="split" to have it taken from the training set'
        )
    if question.margin is not None and subject.target is not None:
        raise UsageError(
            f"margin {question.margin:g} with target {subject.target.metric}="
            f"{subject.target.value:g}: with a target it does not count how trainings end; leave "
            f"one of the two out"
        )
    # What cannot be is refused as each is made; its length holds the target.
    reference, sizes, _ = subject.reference, subject.candidates, subject.length
    elsewhere = question.profile
    if elsewhere is None:
        return
    profiled = elsewhere.workload
    if (profiled.name, profiled.n_train) != (summary.name, summary.n_train):
        raise ProfileError(
            f"the profile is of workload {profiled.name!r} with {profiled.n_train} training "
            f"examples, this is {summary.name!r} with {summary.n_train}; profile this one there"
        )
    reference_of(
        options_of(elsewhere, sizes, trial=reference), reference, device_name=elsewhere.device_name
    )


def advised_about(subject: Subject) -> Advised:
    """The advice about a subject of which it may be asked."""
    question = subject.question
    assert question.store is not None
    listener = question.listener
    listener.begins(command="advise", subject=subject.name, stages=stages_of(subject))
    subject.look()
    leave_out_last_batches(
        subject,
        [
            replace(subject.reference, batch_size=size, micro_batch_size=size)
            for size in subject.candidates
        ],
    )
    study = StudyName(
        study_id=_study_id(subject),
        command=question.command or f"batchlab.advise({subject.summary.reference!r}, ...)",
        workload_id=subject.summary.workload_id,
        environment=environment(),
        margin=question.margin,
    )
    # Only now: a request that is refused leaves no file behind.
    with Store(question.store) as opened:
        opened.put_workload(subject.summary)
        advised = AdviceSession(opened, subject, study).carried_out()
        if question.budget.seconds is None:  # so many trainings, timed when it was answered
            question.budget.limit(advised.advice.budget_s)
    kept_in = str(question.store.absolute()), study.study_id
    return replace(advised, advice=replace(advised.advice, kept_in=kept_in))


def _study_id(subject: Subject) -> str:
    """Return a hash of all that the answer depends on, but for the machine."""
    question, target = subject.question, subject.target
    document = {
        "batchlab": __version__,
        "question": "advise",
        "trial": _told_apart_by(subject.reference),
        "objective": question.objective,
        "target": None if target is None else _told_apart_by(target),
        "batch_sizes": subject.candidates,
        "budget_s": question.budget.asked_s,
        "epochs": subject.epochs,
        "train_s": question.train_s,
        "memory_limit_bytes": question.memory_limit_bytes,
        "profile": None if question.profile is None else question.profile.to_json(),
        "device": question.device,
    }
    if question.margin is not None:
        document["margin"] = float(question.margin)
    if question.trainer != "fastest":
        document["trainer"] = question.trainer
    if question.trainings is not None:
        document["trainings"] = float(question.trainings)
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def _told_apart_by(record: Trial | Target) -> dict[str, object]:
    """The record's fields, those with a default (added later) only where they differ from it.

    So a field that is added takes no study from who asks for it again.
    """
    at_default = {
        field.name for field in fields(record) if getattr(record, field.name) == field.default
    }
    return {name: value for name, value in asdict(record).items() if name not in at_default}
