"""CommandRequest: what is asked about somebody's own training command, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from batchlab.commands.advice_call import AdviceCall
from batchlab.commands.advice_options import candidate_batch_sizes
from batchlab.commands.advice_request import (
    AdviceRequest,
    budget_s_of,
    check_train_s,
    usable_profile,
)
from batchlab.errors import UsageError
from batchlab.launching.training_command import TrainingCommand
from batchlab.planning.sweep_request import SweepRequest, check_batch_size, outside_of_a_share
from batchlab.profiling.measuring import ProfileRequest
from batchlab.profiling.profile import Profile
from batchlab.records.study import WorkloadSummary
from batchlab.records.target import Target
from batchlab.records.trial import Trial

# A command that names no rate has one of its own: the same in all trials.
_NO_RATE = 1.0
# Of a budget, what starting and timing the batch sizes may take.
_TIMING_SHARE = 0.3
# Seconds of steps that a batch size is timed for, where steps are short.
_TIMED_S = 4.0


def command_advice_request(
    command: TrainingCommand,
    summary: WorkloadSummary,
    call: AdviceCall,
    *,
    elsewhere: Profile | None,
) -> AdviceRequest:
    """What is asked of the advice about a command, checked.

    Args:
        command: what is trained.
        summary: what the check of the command found.
        call: what is asked, as it was given.
        elsewhere: the call's profile of another machine, read.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        ProfileError: the profile is of another command.
    """
    epochs = _epochs(command, call)
    target = call.target
    reference = command_trial(
        command, summary, batch_size=summary.batch_size, learning_rate=command.learning_rate
    )
    if command.spans_a_length and epochs is not None:
        reference = replace(reference, horizon_steps=reference.plan.steps_in(epochs))
    sizes = _batch_sizes(summary, call)
    if elsewhere is not None:
        elsewhere = usable_profile(
            elsewhere, reference, sizes, memory_limit_bytes=call.memory_limit_bytes
        )
    return AdviceRequest(
        objective=call.objective,
        target=None if target is None else command_target(command, target),
        batch_sizes=sizes,
        trial=reference,
        budget_s=budget_s_of(call),
        trainings=call.trainings,
        epochs=epochs,
        train_s=call.train_s,
        memory_limit_bytes=call.memory_limit_bytes,
        elsewhere=elsewhere,
        to_profile=ProfileRequest(
            trial=reference,
            batch_sizes=sizes,
            reference_batch_size=summary.batch_size,
            device=reference.device,
            memory_limit_bytes=call.memory_limit_bytes if elsewhere is None else None,
        ),
        device=reference.device,
    )


def command_trial(
    command: TrainingCommand,
    summary: WorkloadSummary,
    *,
    batch_size: int,
    learning_rate: float | None,
    seed: int = 0,
) -> Trial:
    """One training of a command.

    Args:
        command: what is trained.
        summary: what the check of the command found.
        batch_size: examples per step.
        learning_rate: None: the command has one of its own.
        seed: 0, 1, ...
    """
    return Trial.of_whole_batches(
        workload_id=summary.workload_id,
        workload=summary.name,
        n_train=summary.n_train,
        batch_size=batch_size,
        learning_rate=_NO_RATE if learning_rate is None else learning_rate,
        seed=seed,
    )


def command_target(command: TrainingCommand, target: tuple[str, float]) -> Target:
    """The target `(metric, value)` of a command.

    Raises:
        UsageError: another metric than the one that is followed, or no number.
    """
    metric, value = target
    if metric != command.metric:
        raise UsageError(
            f"target {metric}={value:g}: the metric of this command is {command.metric}; give "
            f"--target {command.metric}={value:g}, or --metric {metric}"
        )
    if not math.isfinite(value):
        raise UsageError(f"target {metric}={value}: expected a finite number")
    is_share = "acc" in metric.lower()
    if is_share and value < 0:
        raise UsageError(outside_of_a_share(metric, value))
    return Target(metric=metric, value=value, better=command.direction)


def command_sweep_trials(
    command: TrainingCommand, summary: WorkloadSummary, request: SweepRequest
) -> tuple[Trial, ...]:
    """The trials of a sweep of a command: seeds, then rates, then batch sizes; each once.

    Args:
        command: what is trained.
        summary: what the check of the command found.
        request: what is asked.

    Raises:
        UsageError: several rates for a command without {learning_rate}.
        BatchSizeError: a batch size that the training set does not allow.
    """
    rates: Sequence[float | None] = request.learning_rates or (command.learning_rate,)
    if request.learning_rates is not None and not command.takes("learning_rate"):
        raise UsageError(
            f"learning rates {', '.join(f'{rate:g}' for rate in request.learning_rates)}: the "
            f"command has no {{learning_rate}}, so none of them would act; put it where your "
            f"script takes its rate, such as --lr {{learning_rate}}"
        )
    sizes = request.batch_sizes
    if sizes is None:
        sizes = around(summary)
    trials: dict[str, Trial] = {}
    for seed in range(request.seeds):
        for rate in rates:
            for given in sizes:
                size = summary.n_train if given == "full" else int(given)
                check_batch_size(size, workload=summary.name, n_train=summary.n_train)
                trial = command_trial(
                    command, summary, batch_size=size, learning_rate=rate, seed=seed
                )
                if command.spans_a_length:
                    trial = replace(trial, horizon_steps=request.length.last_step(trial))
                trials[trial.trial_id] = trial
    return tuple(trials.values())


def around(summary: WorkloadSummary) -> tuple[int, ...]:
    """A few batch sizes around the one that one trains with now.

    Args:
        summary: says which that is, and how many examples there are.
    """
    own = summary.batch_size
    sizes = {max(1, own // 4), own, 4 * own, 16 * own}
    return tuple(sorted(size for size in sizes if size <= summary.n_train))


def check_command_call(command: TrainingCommand, call: AdviceCall) -> None:
    """Refuse what can be refused before anything runs.

    Args:
        command: what is trained.
        call: what is asked, as it was given.

    Raises:
        UsageError: what cannot be asked of a command; the message says what can.
    """
    if not command.takes("learning_rate"):
        raise UsageError(
            "the command has no {learning_rate}: batch sizes can only be compared with a rate "
            "tuned for each; put it where your script takes its rate, such as --lr "
            "{learning_rate}, or use batchlab sweep for a comparison at one rate"
        )
    if call.objective == "quality" and call.target is not None:
        raise UsageError(
            "a target with objective quality: quality is compared after the same number of epochs "
            "for all; leave --target out, or ask for objective time"
        )
    if call.train_s is not None:
        check_train_s(call.train_s, call)
    for name, given, usual in (
        ("--set", call.settings or {}, {}),
        ("--sampling", call.sampling, "reshuffle"),
        ("--drop-last", call.drop_last, False),
        ("--device", call.device, "cpu"),
    ):
        refuse_for_commands(name, is_given=given != usual)
    if call.target is not None:
        command_target(command, call.target)
    _epochs(command, call)


def refuse_for_commands(option: str, *, is_given: bool) -> None:
    """Refuse an option that acts on a workload and cannot act on a script.

    Args:
        option: its name.
        is_given: whether it was given.

    Raises:
        UsageError: it was.
    """
    if is_given:
        raise UsageError(
            f"{option} with a command of your own: it cannot reach into your script; give the "
            f"script's own option after the --"
        )


def _epochs(command: TrainingCommand, call: AdviceCall) -> int | None:
    epochs = call.epochs or command.epochs
    if (
        epochs is None
        and call.train_s is None
        and (command.spans_a_length or call.objective == "quality")
    ):
        raise UsageError(
            "the command takes its length ({epochs} or {steps}), and nothing says how long a "
            "training of yours is; give --epochs, such as --epochs 10"
            if command.spans_a_length
            else "objective quality: it is compared after the same number of epochs for all; give "
            "--epochs, such as --epochs 10"
        )
    return epochs


def _batch_sizes(summary: WorkloadSummary, call: AdviceCall) -> tuple[int, ...]:
    """Those given, with the reference; else powers of two, as many as the budget can time."""
    n_train, own = summary.n_train, summary.batch_size
    if call.batch_sizes is not None:
        return given_sizes(call.batch_sizes, summary)
    possible = candidate_batch_sizes(n_train, reference=own)
    budget_s = budget_s_of(call)
    if budget_s is None or summary.start_s is None:
        return possible
    affordable = max(4, int(_TIMING_SHARE * budget_s / (summary.start_s + _TIMED_S)))
    return nearest_sizes(possible, own, most=affordable)


def nearest_sizes(possible: Sequence[int], own: int, *, most: int) -> tuple[int, ...]:
    """At most so many of the batch sizes, spread around one: two larger for each smaller.

    Args:
        possible: ascending, `own` among them.
        own: always kept.
        most: how many, >= 1.
    """
    below = [size for size in possible if size < own][::-1]
    above = [size for size in possible if size > own]
    n_below = min(len(below), (most - 1) // 3)
    n_above = min(len(above), most - 1 - n_below)
    n_below = min(len(below), most - 1 - n_above)
    return tuple(sorted({own, *_spread(below, n_below), *_spread(above, n_above)}))


def _spread(sizes: Sequence[int], n: int) -> list[int]:
    """The nearest, the farthest and those between, `n` in all; every second one at the most."""
    if n >= len(sizes):
        return list(sizes)
    if n * 2 <= len(sizes):
        return list(sizes[1 : 2 * n : 2])
    return [sizes[round(place * (len(sizes) - 1) / max(1, n - 1))] for place in range(n)]


def given_sizes(
    batch_sizes: Sequence[int | Literal["full"]], summary: WorkloadSummary
) -> tuple[int, ...]:
    """The batch sizes asked for, with the one that one trains with now, ascending.

    Args:
        batch_sizes: each 1 to N, or "full" for N.
        summary: of the command.

    Raises:
        BatchSizeError: one that the training set does not allow.
    """
    found = {summary.batch_size}
    for given in batch_sizes:
        size = summary.n_train if given == "full" else int(given)
        check_batch_size(size, workload=summary.name, n_train=summary.n_train)
        found.add(size)
    return tuple(sorted(found))
