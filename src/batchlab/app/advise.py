"""Advising: `batchlab.advise` finds the batch size to use, measured here and within a budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Literal

from batchlab.advice.advice import Advice, Objective
from batchlab.app.advice_session import AdviceSession, stages_of
from batchlab.app.options import check_last_batch, options_of, reference_of
from batchlab.app.public_call import public_call
from batchlab.app.question import Request, asked
from batchlab.app.report import Advised
from batchlab.app.subject import Subject
from batchlab.app.subjects import subject_of
from batchlab.errors import ProfileError, UsageError
from batchlab.machine import environment
from batchlab.measure.profile import Profile
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import TrainerName
from batchlab.records.study import StudyName
from batchlab.records.trial import Sampling, Setting, Target, Trial
from batchlab.runs.cluster import Cluster
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
    at_most_epochs: int | None = None,
    tune: Literal["weight_decay"] | None = None,
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
    """Find the batch size to train `workload` with, and the settings that go with it.

    It profiles the batch sizes, then trains what promises the most for the time it takes, until
    the budget is spent or nothing promises enough. What the store holds is not trained again. After
    an interruption the same call continues, and after its answer it gives that answer at once.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        objective: "time" (least time to the target), "samples" (the largest batch size that needs
            hardly more examples) or "quality" (the best validation metric after `epochs` or
            `train_s`).
        target: (metric, value) on validation data that counts as trained; None for the workload's
            own, or else for what a pilot run of the reference reaches.
        margin: how much worse a training may end and still count as no worse, > 0, in the unit of
            the metric that counts; None for 5 % of what was learned or of the remaining errors,
            whichever is less.
        budget: a limit on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds; None for three minutes, or for what `trainings` take.
        trainings: the limit, instead of `budget`, as a number of trainings of the reference as it
            is, without their evaluations; > 0. The time of one is measured first: to its planned
            end, or if none is planned to the target or to its plateau.
        batch_sizes: the candidates, each 1 to N, or "full" for N; the workload's own is added.
            None for powers of two from 8, of a command for its own one doubled and halved.
        epochs: the epochs of a training of yours, >= 1; None for the workload's own number, or else
            what the budget allows (10 for quality, and for a rate with a shape of its own).
        at_most_epochs: the most epochs of any training, >= `epochs`. For the least time another
            batch size may have more epochs than yours, as long as it takes no longer; None for any
            number of them.
        tune: "weight_decay" to also try a quarter and four times the optimizer's weight decay;
            it takes a budget of 30 trainings or more.
        train_s: for quality, compare after this many seconds of training instead of `epochs`, > 0:
            steps times the step time measured with nothing else running.
        memory_limit_bytes: answer as if the device had only this many bytes; None for all it has.
        profile: a profile of another machine, or its file: step times and memory come from there,
            steps to the target from here.
        settings: settings of the workload or its optimizer.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: leave out the last batch of an epoch if it is smaller.
        device: "cpu", "cuda" or "cuda:1".
        trainer: "fastest" trains small models on a CPU in C made for them, which agrees with
            PyTorch except for rounding; "plain" trains everything in PyTorch's own loop.
        cluster: a Ray cluster that takes the trials; step times are measured on this machine, or
            come from `profile`. None to train on this machine.
        store: the SQLite file; created if it is missing.
        command: the command line to store with the study; None for a description of the call.
        listener: receives the progress; None prints it in a notebook, a line per stage.
        reserved_s: seconds of the budget that the caller needs for its own work around the call.

    Returns:
        The advice: a verdict with its evidence.

    Raises:
        UsageError: a value is not possible; the message says which values are.
        WorkloadError: the workload cannot be loaded, or trained at any batch size.
        ProfileError: `profile` is not a profile, or is one of another workload.
        StoreError: the store cannot be used.
        ClusterError: the cluster cannot be reached, or none of its nodes can train it.
        BudgetError: the budget is too small for a profile.
        KeyboardInterrupt: after everything has been stored.
    """
    return advised(asked("advise", **locals())).advice


def advised(question: Request) -> Advised:
    """Do what `advise` does; return the answer with the runs and the profile behind it."""
    assert question.store is not None
    subject, listener = subject_of(question), question.listener
    listener.begins(command="advise", subject=subject.name, stages=())
    subject.look(lambda: _check(subject))
    listener.begins(command="advise", subject=subject.name, stages=stages_of(subject))
    if question.tune is not None and subject.summary.has_weight_decay is False:
        raise UsageError(
            f"tune weight_decay: the optimizer of workload {subject.name!r} has none, so there is "
            f"nothing to multiply; give it one first, such as 0.01"
        )
    for size in subject.candidates:
        trial = replace(subject.reference, batch_size=size, micro_batch_size=size)
        check_last_batch(subject.summary, trial)
    study = StudyName(
        study_id=_study_id(subject),
        command=question.command or f"batchlab.advise({subject.summary.reference!r}, ...)",
        workload_id=subject.summary.workload_id,
        environment=environment(),
        margin=question.margin,
    )
    # The store is opened only now, so that a refused request leaves no file behind.
    with Store(question.store) as opened:
        opened.put_workload(subject.summary)
        answer = AdviceSession(opened, subject, study).carried_out()
        if question.budget.seconds is None:  # `trainings` were given; the answer has their seconds
            question.budget.limit(answer.advice.budget_s)
    kept_in = str(question.store.absolute()), study.study_id
    return replace(answer, advice=replace(answer.advice, kept_in=kept_in))


def _check(subject: Subject) -> None:
    """Refuse a question that cannot be answered for the subject."""
    question, summary = subject.question, subject.summary
    if not summary.has_validation:
        raise UsageError(
            f"workload {summary.name!r} has no validation set, by which runs are compared; give "
            f'it one, or leave validation="split" to have it taken from the training set'
        )
    allowed, epochs = question.at_most_epochs, subject.epochs
    if allowed is not None and epochs is not None and allowed < epochs:
        raise UsageError(
            f"at most {allowed} epochs, and a training of yours has {epochs}; give "
            f"--at-most-epochs {epochs} or more, or fewer --epochs"
        )
    if question.margin is not None and subject.target is not None:
        raise UsageError(
            f"margin {question.margin:g} with target {subject.target.metric}="
            f"{subject.target.value:g}: with a target it does not count how trainings end; leave "
            f"one of the two out"
        )
    # Computing these three raises errors for impossible values; the length includes the target.
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


def _study_id(subject: Subject) -> str:
    """Return a hash of everything that the answer depends on, except the machine."""
    question, target = subject.question, subject.target
    document = {
        "batchlab": __version__,
        "question": "advise",
        "trial": _distinct_fields(subject.reference),
        "objective": question.objective,
        "target": target and _distinct_fields(target),
        "batch_sizes": subject.candidates,
        "budget_s": question.budget.asked_s,
        "epochs": subject.epochs,
        "train_s": question.train_s,
        "memory_limit_bytes": question.memory_limit_bytes,
        "profile": question.profile and question.profile.to_json(),
        "device": question.device,
    }
    # Include arguments that were added later only if given, so that older studies are still found.
    for name in ("at_most_epochs", "tune", "margin", "trainings"):
        value = getattr(question, name)
        if value is not None:
            document[name] = value
    for name in {"margin", "trainings"} & document.keys():
        document[name] = float(getattr(question, name))  # 300 is 300.0
    if question.trainer != "fastest":
        document["trainer"] = question.trainer
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def _distinct_fields(record: Trial | Target) -> dict[str, object]:
    """Return a record's fields, leaving out those that have their default value.

    A field added later has a default, so older studies keep their id and are still found.
    """
    at_default = {
        field.name for field in fields(record) if getattr(record, field.name) == field.default
    }
    return {name: value for name, value in asdict(record).items() if name not in at_default}
