"""Sweep: `batchlab.sweep` trains at all requested batch sizes, learning rates and seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from batchlab.app.budget import own_turn
from batchlab.app.options import checked_trials
from batchlab.app.question import Request, asked
from batchlab.app.subjects import AnySubject, subject_of
from batchlab.machine import place_here
from batchlab.plans.scaling import moved_adam
from batchlab.random_state import untouched_randomness
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import PlanName, RunRequest, TrainerName
from batchlab.records.study import StepTiming, Study
from batchlab.records.trial import Sampling, Setting, Trial
from batchlab.runs.cluster import Cluster
from batchlab.runs.contract import RunPlan
from batchlab.runs.engine import is_answered
from batchlab.runs.replay import keep_record
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload


@untouched_randomness()
def sweep(
    workload: Workload | TrainingCommand | str = "mnist-mlp",
    *,
    batch_sizes: Sequence[int | Literal["full"]] | None = None,
    learning_rates: Sequence[float] | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    steps: int | None = None,
    target: tuple[str, float] | None = None,
    margin: float | None = None,
    settings: Mapping[str, Setting] | None = None,
    scaling_rule: str = "none",
    sampling: Sampling = "reshuffle",
    drop_last: bool = False,
    micro_batch_size: int | None = None,
    device: str = "cpu",
    trainer: TrainerName = "fastest",
    cluster: Cluster | None = None,
    measure: Sequence[str] = (),
    plans: Sequence[PlanName] | None = None,
    budget: str | float | None = None,
    store: str | Path = "batchlab.db",
    listener: ProgressListener | None = None,
) -> Study:
    """Train `workload` at every batch size, learning rate and seed, and return the results.

    Trials in the store are not trained again. An interrupted trial continues from its checkpoint,
    and so does a finished trial if more epochs are requested.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        batch_sizes: examples per step, from 1 to the number N of training examples, or "full" for
            N; None for "full" and 64, 256 and 1024 (if below N).
        learning_rates: each > 0; None for the workload's reference rate.
        seeds: trials per batch size and rate, with the seeds 0 to seeds - 1; >= 1.
        epochs: passes over the training set; if neither epochs nor steps are given, the
            workload's own number, or 10.
        steps: optimizer steps; if `epochs` are given too, a trial ends at the limit reached first.
        target: (metric, value) on validation data; a trial ends on reaching the value.
        margin: a batch size counts as no worse than another if its final metric is worse by at most
            `margin`, > 0, in the unit of the metric; None for the lesser of 5 % of the improvement
            over the untrained model and 5 % of the remaining errors.
        settings: settings of the workload or its optimizer.
        scaling_rule: how the rates, given for the workload's reference batch size, change with
            the batch size: "none", "linear", "sqrt" or "sde-adam". All but "none" also scale
            AdamW's weight decay and Adam's beta 2; "sde-adam" also scales beta 1 and eps.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: leave out the last batch of an epoch if that batch is smaller.
        micro_batch_size: examples per forward and backward pass; None for the whole batch.
        device: "cpu", "cuda" or "cuda:1".
        trainer: "fastest" trains small models on a CPU in C code, with the same results as
            PyTorch except for rounding; "plain" trains every model in PyTorch.
        cluster: a Ray cluster that trains the trials; None to train on this machine.
        measure: what else to measure, at the start and after each epoch: "noise_scale",
            "gradient_variance"; or at the start and end of a trial: "sharpness". Trials that were
            trained before are not measured.
        plans: train these plans of two batch sizes: "small" and "large" keep one size; "decay"
            keeps the small size and divides the rate by 4 after 40, 70 and 90 % of the run; "grow"
            multiplies the batch size by 4 there, up to the large size, and divides the rate only
            after that. The default batch sizes are the workload's own and 16 times its own.
        budget: a limit on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds; unfinished trials can be continued by another call. None for no limit.
        store: the path of the SQLite file, created if missing.
        listener: receives progress; None prints a line per stage in a notebook, else nothing.

    Returns:
        The study with the records of its trials in the order of seeds, rates, batch sizes.

    Raises:
        BatchlabError: a value is not possible, the workload cannot be trained, the store or the
            cluster cannot be used, or the budget is too small; the message says what to do.
        KeyboardInterrupt: after everything has been stored.
    """
    return swept(asked("sweep", **locals()))


def swept(question: Request) -> Study:
    """Carry out a request for `sweep`, from Python or from the command line."""
    subject = subject_of(question)
    assert question.store is not None
    subject.look(lambda: (subject.length, subject.trials))
    trials = checked_trials(subject)
    stages = text(_TIMING), text(_TRAINING, n=len(trials))
    question.listener.begins(command="sweep", subject=subject.name, stages=stages)
    summary = subject.summary
    for trial in trials:  # Refuse a rule that scales a setting which the optimizer lacks.
        moved_adam(
            summary.adam,
            trial.scaling_rule,
            batch_size=trial.batch_size,
            reference_batch_size=summary.batch_size,
            whose=f"the optimizer of workload {summary.name!r}",
        )
    # Open the store only after all checks, so that a refused request creates no file.
    with Store(question.store) as opened:
        opened.put_workload(summary)
        return _stored_study(opened, subject, trials)


_TIMING = "timing each batch size with nothing else running"
_TRAINING = "training {n:1 trial|# trials}"
_TIMING_TIMEOUT_S = 600.0
_TIMING_LEAST_S = 5.0
# Timing the steps of one batch size may take this share of the remaining budget.
_TIMING_SHARE = 0.2
# Warn if step times vary by more than this fraction. On an idle machine they vary by a few percent.
_UNSTEADY_FRACTION = 0.3


def _stored_study(store: Store, subject: AnySubject, trials: Sequence[Trial]) -> Study:
    """Time the steps of unfinished trials, train these trials, and return the whole study."""
    budget, listener = subject.question.budget, subject.question.listener
    trial_ids = tuple(trial.trial_id for trial in trials)
    study_id = hashlib.sha256(" ".join(sorted(trial_ids)).encode()).hexdigest()[:16]
    left, timings = _unfinished(store, subject, trials), dict[int, StepTiming]()
    if left:
        if subject.question.is_device_here:
            timings = _timings(store, subject, left)
        budget.refuse_if_out_of_time("timing steps")
    study = subject.study_name(study_id)
    store.put_study(replace(study, trial_ids=trial_ids, target=subject.length.until))
    try:
        if left:
            listener.phase(text(_TRAINING, n=len(trials)))
            _train(store, subject, left, timings)
    finally:
        store.add_spent(study_id, budget.elapsed_s())
    if n_left := len(_unfinished(store, subject, trials)):
        listener.warning(
            f"{n_left} of {len(trials)} trials are not finished; the same command goes on with them"
        )
    return store.study(study_id)


def _unfinished(store: Store, subject: AnySubject, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that have to be trained, or trained further."""
    keeps, length, unfinished = subject.keeps_cadence, subject.seldom_watched_length, []
    for trial in trials:
        if not is_answered(store.record(trial.trial_id), length, keeps_cadence=keeps):
            unfinished.append(trial)
    return unfinished


def _timings(store: Store, subject: AnySubject, trials: Sequence[Trial]) -> dict[int, StepTiming]:
    """Return step times by batch size from the store; measure and store those that are missing."""
    question, listener = subject.question, subject.question.listener
    constant: dict[int, Trial] = {}  # For each batch size, a trial that never changes its size.
    for trial in trials:
        for size in trial.batch_sizes:
            constant[size] = trial.throughout(size)
    timings: dict[int, StepTiming] = {}
    waiting = "another sweep on this store was timing steps"
    # If two sweeps start at once, one of them times the steps, and the other reads these times.
    with own_turn(store, "step-times", budget=question.budget, while_waiting=waiting):
        place, first = place_here(question.device), trials[0]
        for timing in store.timings(first.workload_id, first.device, place=place):
            size = timing.batch_size
            if size in constant and constant[size].micro_batch_size == timing.micro_batch_size:
                timings[size] = timing
        untimed = sorted(constant.keys() - timings.keys())
        if untimed:
            listener.phase(text(_TIMING))
        for size in untimed:
            doing = text("batch size {size}", size=size)
            listener.progress(done_fraction=0.0, left_s=None, text=doing)
            measured = _timing(subject, constant[size])
            if measured is not None:
                store.put_timing(measured)
                timings[size] = measured
    return timings


def _timing(subject: AnySubject, trial: Trial) -> StepTiming | None:
    """Time the steps of a trial, and warn if the times vary; warn and return None on a failure."""
    budget, listener, size = subject.question.budget, subject.question.listener, trial.batch_size
    left_s = budget.time_limit_s(_TIMING_TIMEOUT_S / _TIMING_SHARE)
    # Take only a share of this, because a batch size with slow steps must leave time for training.
    timeout_s = min(left_s, max(_TIMING_LEAST_S, _TIMING_SHARE * left_s))
    ended = subject.timed(trial, timeout_s=timeout_s)
    timing = ended.value
    if not isinstance(timing, StepTiming):
        budget.refuse_if_out_of_time(f"timing the steps of batch size {size}")
        # Only warn, because the training will fail too, and its record will contain the reason.
        listener.warning(
            f"the steps of batch size {size} could not be timed: {reason_text(ended.reason)}"
        )
        return None
    if timing.unsteadiness_fraction > _UNSTEADY_FRACTION:
        listener.warning(
            f"the machine was busy while the steps of batch size {size} were timed: half of the "
            f"blocks lie {timing.unsteadiness_fraction:.0%} apart, so its place in the view by "
            f"time is as uncertain"
        )
    return timing


def _train(
    store: Store, subject: AnySubject, trials: Sequence[Trial], timings: Mapping[int, StepTiming]
) -> None:
    """Train the trials within the budget, and store their records."""
    question, budget = subject.question, subject.question.budget
    # A single trial uses the fastest number of CPU threads. Several trials use one thread each.
    first, threads = trials[0], 1
    if len(trials) == 1 and first.batch_size in timings:
        threads = timings[first.batch_size].threads
    micro_batch_sizes: dict[int, int] = {}
    for trial in trials:
        micro_batch_sizes |= trial.micro_batch_sizes
    plan = RunPlan(
        trial=first.throughout(first.batch_size),
        device=question.device,
        listener=question.listener,
        started_s=budget.started_s,
        budget_s=budget.work_s,
        micro_batch_sizes=micro_batch_sizes,
        step_s={size: timing.step_s for size, timing in timings.items()},
        threads=threads,
        measures=question.measure,
        trainer=question.trainer,
    )
    engine = subject.engine(store, plan)
    try:
        for trial in trials:
            engine.submit(RunRequest(trial=trial, length=subject.length))
        for _ in trials:
            _, record = engine.next_finished()
            keep_record(store, record)
    finally:
        engine.cancel()
