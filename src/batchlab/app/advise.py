"""Advising: `batchlab.advise`, which batch size to use, measured here and within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from batchlab.advice.advice import Advice, Objective
from batchlab.app.advice_request import (
    AdviceCall,
    AdviceRequest,
    advice_request,
    budget_s_of,
    check_command_call,
    check_objective,
    command_advice_request,
    read_profile,
)
from batchlab.app.advice_session import AdviceSession, Advised, in_whole_batches, stages_of
from batchlab.app.argument_names import known_arguments_only
from batchlab.app.budget import Budget
from batchlab.app.subject import (
    CommandSubject,
    PreparedWorkload,
    Subject,
    WorkloadSubject,
    fitting_request,
    known_by_its_model,
)
from batchlab.machine import environment
from batchlab.measure.profile import Profile
from batchlab.random_state import untouched_randomness
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Sampling, Setting
from batchlab.report.progress import listener_or_notebook
from batchlab.runs.replay import StudyName
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.workload.definition import Workload
from batchlab.workload.loading import loaded_workload


@known_arguments_only
def advise(
    workload: Workload | TrainingCommand | str = "mnist-mlp",
    *,
    objective: Objective = "time",
    target: tuple[str, float] | None = None,
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
    store: str | Path = "batchlab.db",
    command: str | None = None,
    listener: ProgressListener | None = None,
    reserved_s: float = 0.0,
) -> Advice:
    """Which batch size to train `workload` with, and what to set with it.

    Profiles the batch sizes, tunes the learning rate of those that may win, fits, decides, and
    verifies the answer on fresh seeds. What the store already holds is not trained again; after an
    interruption the same call goes on, and once it has answered it gives the same answer at once.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        objective: "time" (least time to the target), "samples" (the largest batch size that needs
            hardly more examples) or "quality" (the best validation metric after `epochs` or
            `train_s`).
        target: (metric, value) on validation data that counts as trained; None: the workload's
            own, or what a pilot run of the reference reaches.
        budget: a ceiling on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds; None: three minutes, or what `trainings` take.
        trainings: the ceiling, instead of `budget`, in trainings of the reference as it is, to
            its planned end, without their evaluations; > 0. How long one takes is measured first.
        batch_sizes: the candidates, each 1 to N, or "full" for N, and the workload's own; None:
            powers of two from 8.
        epochs: no run goes further than this many passes, >= 1; None: the workload's own, or as
            the budget allows. For quality, and where the learning rate has a shape of its own, 10
            unless given.
        train_s: with quality: compare after so many seconds of training (steps times the step time
            measured alone) instead of `epochs`, > 0.
        memory_limit_bytes: answer as if the device had no more, in bytes; None: what it has.
        profile: of another machine, or the file of one: step times and memory from there, steps to
            the target from here.
        settings: of the workload or its optimizer.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: leave out a smaller last batch of an epoch.
        device: "cpu", "cuda" or "cuda:1".
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
        BudgetError: the budget is too small for a profile.
        KeyboardInterrupt: after everything has been stored.
    """
    call = AdviceCall(
        objective=objective,
        target=target,
        budget=budget,
        trainings=trainings,
        batch_sizes=batch_sizes,
        epochs=epochs,
        train_s=train_s,
        memory_limit_bytes=memory_limit_bytes,
        profile=profile,
        settings=settings,
        sampling=sampling,
        drop_last=drop_last,
        device=device,
        store=store,
        command=command,
        listener=listener,
        reserved_s=reserved_s,
    )
    return advise_with_evidence(workload, call).advice


def advise_with_evidence(workload: Workload | TrainingCommand | str, call: AdviceCall) -> Advised:
    """What `advise` does, with the runs and the profile that its answer rests on.

    Args:
        workload: as `advise` takes it.
        call: what else `advise` takes.

    Raises:
        BatchlabError: what `advise` raises.
        KeyboardInterrupt: after everything has been stored.
    """
    budget = Budget(budget_s_of(call), reserved_s=call.reserved_s)
    listener = listener_or_notebook(call.listener)
    check_objective(call.objective)
    elsewhere = read_profile(call.profile)
    if isinstance(workload, TrainingCommand):
        return _advised_command(workload, call, elsewhere, budget=budget, listener=listener)
    # Loading runs the user's own code, which may draw random numbers; ours below may not either.
    with untouched_randomness():
        loaded = loaded_workload(workload, call.settings or {})
        advice_request(loaded, call, elsewhere=elsewhere)  # a wrong one is refused at once
        loaded = known_by_its_model(loaded, budget, call.store)
        asked = advice_request(loaded, call, elsewhere=elsewhere)
        prepared = PreparedWorkload(loaded, device=asked.device, budget=budget, listener=listener)
        described = call.command or f"batchlab.advise({loaded.reference!r}, ...)"
        del loaded, workload  # so that the data can go once they are in shared memory
        return advise_about(
            WorkloadSubject(prepared),
            asked,
            budget=budget,
            store=call.store,
            command=described,
            listener=listener,
        )


def _advised_command(
    command: TrainingCommand,
    call: AdviceCall,
    elsewhere: Profile | None,
    *,
    budget: Budget,
    listener: ProgressListener,
) -> Advised:
    check_command_call(command, call)
    listener.begins(command="advise", subject=command.name, stages=())
    subject = CommandSubject(command, budget=budget, listener=listener)
    # Before the request: how many examples there are is known by then.
    summary = subject.summary(Path(call.store))
    return advise_about(
        subject,
        command_advice_request(command, summary, call, elsewhere=elsewhere),
        budget=budget,
        store=call.store,
        command=call.command or f"batchlab.advise({command.name!r}, ...)",
        listener=listener,
    )


def advise_about(
    subject: Subject,
    asked: AdviceRequest,
    *,
    budget: Budget,
    store: str | Path,
    command: str,
    listener: ProgressListener,
) -> Advised:
    """The advice about a subject that may be no workload of this process.

    Args:
        subject: what is asked about.
        asked: the question, checked.
        budget: a ceiling on the whole call; it began with it.
        store: the SQLite file; made if missing.
        command: to be stored with the study.
        listener: told how it gets on.

    Raises:
        StoreError: the store cannot be used.
        BudgetError: the budget is too small for a profile.
        KeyboardInterrupt: after everything has been stored.
    """
    listener.begins(command="advise", subject=asked.trial.workload, stages=stages_of(asked))
    summary = subject.summary(Path(store))
    asked = in_whole_batches(summary, fitting_request(summary, asked, listener))
    study = StudyName(
        study_id=asked.study_id,
        command=command,
        workload_id=summary.workload_id,
        environment=environment(),
    )
    # Only now: a request that is refused leaves no file behind.
    with Store(store) as opened:
        opened.put_workload(summary)
        session = AdviceSession(opened, subject, asked, study, summary, budget, listener)
        advised = session.carried_out()
    kept_in = str(Path(store).absolute()), study.study_id
    return replace(advised, advice=replace(advised.advice, kept_in=kept_in))
