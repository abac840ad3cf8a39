"""Sweep: what is asked of a workload or a command, checked, and carried out into a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from batchlab.commands.argument_names import known_arguments_only
from batchlab.commands.budget import Budget
from batchlab.commands.command_request import (
    command_sweep_trials,
    command_target,
    refuse_for_commands,
)
from batchlab.commands.command_subject import CommandSubject
from batchlab.commands.prepared_workload import PreparedWorkload, known_by_its_model
from batchlab.commands.stored_sweep import sweep_about
from batchlab.commands.workload_subject import WorkloadSubject
from batchlab.launching.training_command import TrainingCommand
from batchlab.measurements.registry import checked_on_request
from batchlab.planning.sweep_request import (
    SweepRequest,
    checked_request,
    checked_target,
    plan_trials,
)
from batchlab.random_state import untouched_randomness
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run_length import RunLength
from batchlab.records.study import Study
from batchlab.records.trial import Sampling, Setting
from batchlab.report.progress.notebook import listener_or_notebook
from batchlab.workload.definition import Workload
from batchlab.workload.loading import loaded_workload


@known_arguments_only
def sweep(
    workload: Workload | TrainingCommand | str = "mnist-mlp",
    *,
    batch_sizes: Sequence[int | Literal["full"]] | None = None,
    learning_rates: Sequence[float] | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    steps: int | None = None,
    target: tuple[str, float] | None = None,
    settings: Mapping[str, Setting] | None = None,
    scaling_rule: str = "none",
    sampling: Sampling = "reshuffle",
    drop_last: bool = False,
    micro_batch_size: int | None = None,
    device: str = "cpu",
    measure: Sequence[str] = (),
    budget: str | float | None = None,
    reserved_s: float = 0.0,
    store: str | Path = "batchlab.db",
    command: str | None = None,
    listener: ProgressListener | None = None,
) -> Study:
    """Train `workload` at every batch size, learning rate and seed, and return what was seen.

    What the store already holds is not trained again; an interrupted trial goes on from its
    checkpoint, and one that was asked for more epochs than before goes on from its end.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        batch_sizes: examples per step, each 1 to N, or "full" for N; None: 64, 256, 1024 as far
            as they are below N, and "full".
        learning_rates: each > 0; None: the workload's reference rate.
        seeds: trials per cell, with the seeds 0 to seeds - 1; >= 1.
        epochs: passes over the training set; where neither epochs nor steps are given, the
            workload's own, or 10.
        steps: optimizer steps; with `epochs` too, whichever ends first.
        target: (metric, value) on validation data at which a trial ends.
        settings: of the workload or its optimizer.
        scaling_rule: "none", or how the rates, taken as right for the workload's reference batch
            size, follow the batch size: "linear", "sqrt", or "sde-adam", which moves Adam's betas
            and eps with it.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: leave out a smaller last batch of an epoch.
        micro_batch_size: examples per forward and backward pass; None: the whole batch.
        device: "cpu", "cuda" or "cuda:1".
        measure: what else to measure at the start and where an epoch ends: "noise_scale",
            "gradient_variance", "sharpness", "top_eigenvalue". Trials that were trained before are
            not measured again.
        budget: a ceiling on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds; what is not done by then can go on. None: there is none.
        reserved_s: the part of the budget that the caller needs for what it does around the call.
        store: the SQLite file; made if missing.
        command: the command line to be stored with the study; None: a description of the call.
        listener: told how it gets on; None: the cell of the notebook that asks, if one does.

    Returns:
        The study with the records of its trials in the order of seeds, rates, batch sizes.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        WorkloadError: the workload cannot be loaded or trained.
        StoreError: the store cannot be used.
        BudgetError: the budget is too small for one trial.
        KeyboardInterrupt: after everything has been stored.
    """
    ceiling = Budget(budget, reserved_s=reserved_s)
    listener = listener_or_notebook(listener)
    request = checked_request(
        batch_sizes=batch_sizes,
        learning_rates=learning_rates,
        seeds=seeds,
        epochs=epochs,
        steps=steps,
        scaling_rule=scaling_rule,
        sampling=sampling,
        drop_last=drop_last,
        micro_batch_size=micro_batch_size,
        device=device,
        measures=checked_on_request(measure),
    )
    if isinstance(workload, TrainingCommand):
        for option, given, usual in (
            ("--set", settings or {}, {}),
            ("--scaling-rule", scaling_rule, "none"),
            ("--sampling", sampling, "reshuffle"),
            ("--drop-last", drop_last, False),
            ("--micro-batch-size", micro_batch_size, None),
            ("--device", device, "cpu"),
            ("--measure", tuple(measure), ()),
        ):
            refuse_for_commands(option, is_given=given != usual)
        return _sweep_of_command(
            workload,
            request,
            target,
            has_length=epochs is not None or steps is not None,
            budget=ceiling,
            store=store,
            command=command or f"batchlab.sweep({workload.name!r}, ...)",
            listener=listener,
        )
    # Loading runs the user's own code, which may draw random numbers; ours below may not either.
    with untouched_randomness():
        loaded = loaded_workload(workload, settings or {})
        if epochs is None and steps is None and loaded.workload.epochs is not None:
            length = replace(request.length, epochs=loaded.workload.epochs)
            request = replace(request, length=length)
        if target is not None:
            request = replace(
                request,
                length=replace(request.length, until=checked_target(loaded.workload, target)),
            )
        plan_trials(loaded, request)  # a wrong request is refused at once
        loaded = known_by_its_model(loaded, ceiling, store)
        trials = plan_trials(loaded, request)
        described = command or f"batchlab.sweep({loaded.reference!r}, ...)"
        prepared = PreparedWorkload(
            loaded, device=request.device, budget=ceiling, listener=listener
        )
        del loaded, workload  # so that the data can go once they are in shared memory
        return sweep_about(
            WorkloadSubject(prepared),
            request,
            trials,
            budget=ceiling,
            store=store,
            command=described,
            listener=listener,
        )


def _sweep_of_command(
    training_command: TrainingCommand,
    request: SweepRequest,
    target: tuple[str, float] | None,
    *,
    has_length: bool,
    budget: Budget,
    store: str | Path,
    command: str,
    listener: ProgressListener,
) -> Study:
    length = request.length
    if not has_length and training_command.epochs is not None:
        length = replace(length, epochs=training_command.epochs)
    elif not has_length and not training_command.spans_a_length:
        length = RunLength(to_own_end=True)
    if target is not None:
        length = replace(length, until=command_target(training_command, target))
    request = replace(request, length=replace(length, all_splits="never"))
    subject = CommandSubject(training_command, budget=budget, listener=listener)
    summary = subject.summary(Path(store))
    return sweep_about(
        subject,
        request,
        command_sweep_trials(training_command, summary, request),
        budget=budget,
        store=store,
        command=command,
        listener=listener,
    )
