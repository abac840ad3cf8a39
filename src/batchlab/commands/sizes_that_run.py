"""SizesThatRun: a request with the batch sizes, and the last batches, that its model takes.

A model that needs pairs, or a fixed number of examples, would end each trial with the same
exception. What the check found out is kept to before anything is spent, and said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from batchlab.advice.question import Option
from batchlab.commands.advice_request import AdviceRequest
from batchlab.errors import BatchSizeError
from batchlab.planning.sweep_request import SweepRequest, check_batch_norm
from batchlab.records.estimate import Estimate
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.reason import Reason
from batchlab.records.runnable_sizes import RunnableSizes
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Trial


def fitting_trials(
    summary: WorkloadSummary,
    trials: tuple[Trial, ...],
    request: SweepRequest,
    listener: ProgressListener,
) -> tuple[Trial, ...]:
    """The trials that the model takes; without smaller last batches where it takes one of them not.

    Args:
        summary: says which sizes run.
        trials: as they were asked for.
        request: by which; batch sizes that it does not name go where they do not run.
        listener: hears what is left out.

    Raises:
        BatchSizeError: a batch size that was asked for does not run, or none does.
    """
    check_batch_norm(summary, trials)
    sizes = _rule(summary)
    if sizes.are_all and summary.last_batch_runs:
        return trials
    fits = [trial for trial in trials if _runs(sizes, trial.batch_size, trial.micro_batch_size)]
    without = [trial for trial in trials if trial not in fits]
    if without and (request.batch_sizes is not None or not fits):
        raise BatchSizeError(_refusal(sizes, without[0]))
    if without:
        gone = ", ".join(str(size) for size in sorted({trial.batch_size for trial in without}))
        listener.warning(
            f"batch sizes left out: {gone}; the model of {summary.name!r} takes {sizes}"
        )
    if not _last_batches_fail(summary, fits, listener):
        return tuple(fits)
    found = []
    for trial in (replace(trial, drop_last=True) for trial in fits):
        has_shape = trial.horizon_steps is not None
        found.append(
            replace(trial, horizon_steps=request.length.last_step(trial)) if has_shape else trial
        )
    return tuple(found)


def fitting_request(
    summary: WorkloadSummary, asked: AdviceRequest, listener: ProgressListener
) -> AdviceRequest:
    """The request that profiles what the model takes; without last batches where that is needed.

    Its candidates stay, so that the answer says why some are left out (`with_sizes_that_run`).

    Args:
        summary: says which sizes run.
        asked: the request.
        listener: hears what is left out.
    """
    sizes = _rule(summary)
    if sizes.are_all and summary.last_batch_runs:
        return asked
    run = tuple(size for size in asked.to_profile.batch_sizes if sizes.holds(size))
    asked = replace(asked, to_profile=replace(asked.to_profile, batch_sizes=run))
    trials = [replace(asked.trial, batch_size=size, micro_batch_size=size) for size in run]
    if not _last_batches_fail(summary, trials, listener):
        return asked
    trial = replace(asked.trial, drop_last=True)
    if trial.horizon_steps is not None:
        assert asked.epochs is not None
        trial = replace(trial, horizon_steps=trial.plan.steps_in(asked.epochs))
    return replace(asked, trial=trial)


def with_sizes_that_run(summary: WorkloadSummary, options: Iterable[Option]) -> tuple[Option, ...]:
    """The options, those that the model does not take with a note that says so."""
    sizes = _rule(summary)
    return tuple(
        option
        if option.note is not None or _runs(sizes, option.batch_size, option.micro_batch_size)
        else replace(option, note=(why := _why(sizes)), step_s=Estimate.cannot_tell(why))
        for option in options
    )


def _rule(summary: WorkloadSummary) -> RunnableSizes:
    """Which sizes run; that BatchNorm needs two has a check of its own (`check_batch_norm`)."""
    if summary.has_batch_norm and summary.sizes == RunnableSizes(least=2):
        return RunnableSizes()
    return summary.sizes


def _runs(sizes: RunnableSizes, batch_size: int, micro_batch_size: int) -> bool:
    """Whether a whole batch runs in such pieces."""
    rest = batch_size % micro_batch_size
    return sizes.holds(micro_batch_size) and (rest == 0 or sizes.holds(rest))


def _last_batches_fail(
    summary: WorkloadSummary, trials: Iterable[Trial], listener: ProgressListener
) -> bool:
    """Whether an epoch's last batch of any of them does not run, and that it is left out then."""
    sizes = _rule(summary)
    for trial in trials:
        rest = trial.n_train % trial.batch_size
        if trial.drop_last or rest == 0:
            continue
        if summary.last_batch_runs and _runs(sizes, rest, min(rest, trial.micro_batch_size)):
            continue
        why = f"the model of {summary.name!r} takes {sizes}"
        if not summary.last_batch_runs:
            why = f"such a step failed when {summary.name!r} was checked"
        listener.warning(
            f"the smaller last batch of an epoch is left out at every batch size, as with "
            f"--drop-last: at batch size {trial.batch_size} it has {rest} of the {trial.n_train} "
            f"examples, and {why}"
        )
        return True
    return False


def _refusal(sizes: RunnableSizes, trial: Trial) -> str:
    size, micro = trial.batch_size, trial.micro_batch_size
    given = f"batch size {size}" + ("" if micro == size else f" in micro-batches of {micro}")
    near = sizes.largest_up_to(size) or sizes.least
    return (
        f"{given}: the model of {trial.workload!r} takes {sizes} in a pass; give one that fits, "
        f"such as {near}"
    )


def _why(sizes: RunnableSizes) -> Reason:
    if sizes.most is not None:
        return Reason.of("takes_only", most=sizes.most)
    if sizes.multiple_of > 1:
        return Reason.of("takes_multiples_of", of=sizes.multiple_of)
    return Reason.of("takes_at_least", least=sizes.least)
