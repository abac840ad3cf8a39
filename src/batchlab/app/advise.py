"""Advising: `batchlab.advise` measures, within a budget, which batch size to train with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

import msgspec

from batchlab.advice.advice import Advice, Objective
from batchlab.app.advice_session import AdviceSession, stages_of
from batchlab.app.options import check_last_batch
from batchlab.app.question import Request, asked
from batchlab.app.report import Advised
from batchlab.app.subject import Subject
from batchlab.app.subjects import subject_of
from batchlab.errors import BatchlabError, UsageError
from batchlab.measure.profile import Profile
from batchlab.random_state import untouched_randomness
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import TrainerName
from batchlab.records.trial import Sampling, Setting
from batchlab.runs.cluster import Cluster
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.version import __version__
from batchlab.workload.definition import Workload


@untouched_randomness()
def advise(
    workload: Workload | TrainingCommand | str = "mnist-mlp",
    *,
    objective: Objective = "time",
    target: tuple[str, float] | None = None,
    margin: float | None = None,
    budget: str | float | None = None,
    batch_sizes: Sequence[int | Literal["full"]] | None = None,
    epochs: int | None = None,
    at_most_epochs: int | None = None,
    memory_limit_bytes: int | None = None,
    profile: Profile | str | Path | None = None,
    settings: Mapping[str, Setting] | None = None,
    sampling: Sampling = "reshuffle",
    drop_last: bool = False,
    device: str = "cpu",
    trainer: TrainerName = "fastest",
    cluster: Cluster | None = None,
    store: str | Path = "batchlab.db",
    listener: ProgressListener | None = None,
) -> Advice:
    """Find the batch size to train `workload` with, and its learning rate and other settings.

    The batch sizes are profiled, then the most promising configurations are trained, until the
    budget is spent or no configuration is promising enough. Trials in the store are not trained
    again. After an interruption, the same call continues the study; after completion, the same
    call returns the stored advice.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        objective: "time" (least time to the target), "samples" (the largest batch size that needs
            hardly more examples) or "quality" (the best validation metric after `epochs`).
        target: (metric, value) on validation data at which a training succeeds; None for the
            workload's own target, or else the value that a pilot run with your settings reaches.
        margin: a training counts as no worse than another if its final metric is worse by at most
            `margin`, > 0, in the unit of the metric; None for the lesser of 5 % of the improvement
            over the untrained model and 5 % of the remaining errors.
        budget: a limit on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds; None for three minutes.
        batch_sizes: the candidates, from 1 to the number N of training examples, or "full" for N;
            your own batch size is added. None for powers of two from 8; for a command, None for
            its own batch size doubled and halved repeatedly.
        epochs: the epochs of one training with your settings, >= 1. None for the workload's own
            number; without such a number, 10 epochs for objective "quality" or with a
            learning-rate schedule, else as many as the budget allows.
        at_most_epochs: the most epochs of any training, >= `epochs`; None for no limit. With
            objective "time", another batch size may train more epochs than yours if the training
            takes no longer.
        memory_limit_bytes: answer as if the device had only this many bytes; None for all of them.
        profile: a profile of another machine, or its file: step times and memory are taken from the
            profile, steps to the target are measured on this machine.
        settings: settings of the workload or its optimizer.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: leave out the last batch of an epoch if that batch is smaller.
        device: "cpu", "cuda" or "cuda:1".
        trainer: "fastest" trains small models on a CPU in C code, with the same results as
            PyTorch except for rounding; "plain" trains every model in PyTorch.
        cluster: a Ray cluster that trains the trials; step times are measured on this machine, or
            taken from `profile`. None to train on this machine.
        store: the path of the SQLite file, created if missing.
        listener: receives progress; None prints a line per stage in a notebook, else nothing.

    Returns:
        The advice: a verdict with its evidence.

    Raises:
        BatchlabError: a value is not possible, the workload cannot be trained, the store or the
            cluster cannot be used, or the budget is too small; the message says what to do.
        KeyboardInterrupt: after everything has been stored.
    """
    return advised(asked("advise", **locals())).advice


def advised(question: Request) -> Advised:
    """Carry out a request for `advise`; return the advice with its study and profile."""
    assert question.store is not None
    subject, listener = subject_of(question), question.listener
    listener.begins(command="advise", subject=subject.name, stages=stages_of(subject))
    listener.budget(spent_s=question.budget.elapsed_s(), budget_s=question.budget.seconds)
    subject.look(lambda: _check(subject))
    for size in subject.candidates:
        trial = replace(subject.reference, batch_size=size, micro_batch_size=size)
        check_last_batch(subject.summary, trial)
    study = subject.study_name(_study_id(subject))
    # Open the store only after all checks, so that a refused request creates no file.
    with Store(question.store) as opened:
        opened.put_workload(subject.summary)
        answer = AdviceSession(opened, subject, study).carried_out()
    kept_in = str(question.store.absolute()), study.study_id
    return replace(answer, advice=replace(answer.advice, kept_in=kept_in))


def _check(subject: Subject) -> None:
    """Raise an error if the question cannot be answered for this workload or command."""
    question, summary = subject.question, subject.summary
    if not summary.has_validation:
        raise UsageError(
            f"workload {summary.name!r} has no validation set, but runs are compared by their "
            f'validation metric; give it one, or leave validation="split" to take it from the '
            f"training set"
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
    # Each of these properties raises an error for an impossible batch size, epochs or target.
    _ = subject.reference, subject.candidates, subject.length
    elsewhere = question.profile and question.profile.workload
    if elsewhere and (elsewhere.name, elsewhere.n_train) != (summary.name, summary.n_train):
        raise BatchlabError(
            f"the profile is of workload {elsewhere.name!r} with {elsewhere.n_train} training "
            f"examples, this is {summary.name!r} with {summary.n_train}; profile this one there"
        )


# Fields of a request that `_study_id` does not hash, because they change no answer, or because
# their values are hashed in another form.
_NOT_IN_THE_ID = {"workload", "settings", "budget", "listener", "cluster", "store", "command"}


def _study_id(subject: Subject) -> str:
    """Return the study's id: a hash of everything that affects the answer, except the machine."""
    question = subject.question
    names = {field.name for field in fields(question)} - _NOT_IN_THE_ID
    document = {name: getattr(question, name) for name in names} | {
        "batchlab": __version__,
        "trial": subject.reference,
        "target": subject.target,
        "batch_sizes": subject.candidates,
        "epochs": subject.epochs,
        "budget_s": question.budget.seconds,
    }
    return hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()[:16]
