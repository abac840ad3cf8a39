"""Sizes that run: which batch sizes a model takes, and what is left out where it does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from batchlab.advice.advice import Option
from batchlab.app.subject import Subject
from batchlab.errors import BatchSizeError
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import RunnableSizes, WorkloadSummary
from batchlab.records.trial import Trial


def fitting_trials(subject: Subject) -> tuple[Trial, ...]:
    """Its trials that the model takes; without smaller last batches where one of them does not run.

    Args:
        subject: known; batch sizes that its question does not name go where they do not run.

    Raises:
        BatchSizeError: a batch size that was asked for does not run, or none does.
    """
    summary, trials = subject.summary, subject.trials
    for trial in trials:
        check_batch_norm(summary, trial)
    sizes = _rule(summary)
    if sizes.are_all and summary.last_batch_runs:
        return trials
    fits = [trial for trial in trials if _runs(sizes, trial.batch_size, trial.micro_batch_size)]
    without = [trial for trial in trials if trial not in fits]
    if without and (subject.question.batch_sizes is not None or not fits):
        raise BatchSizeError(_refusal(sizes, without[0]))
    gone = {trial.batch_size for trial in without}
    if gone:
        subject.question.listener.warning(
            f"batch sizes left out: {', '.join(map(str, sorted(gone)))}; the model of "
            f"{summary.name!r} takes {sizes}"
        )
    leave_out_last_batches(subject, fits)
    return tuple(trial for trial in subject.trials if trial.batch_size not in gone)


def leave_out_last_batches(subject: Subject, trials: Iterable[Trial]) -> None:
    """Let the subject leave out smaller last batches where one of the trials' does not run."""
    summary, sizes = subject.summary, _rule(subject.summary)
    for trial in trials:
        rest = trial.n_train % trial.batch_size
        if trial.drop_last or rest == 0:
            continue
        if summary.last_batch_runs and _runs(sizes, rest, min(rest, trial.micro_batch_size)):
            continue
        why = f"the model of {summary.name!r} takes {sizes}"
        if not summary.last_batch_runs:
            why = f"such a step failed when {summary.name!r} was checked"
        subject.question.listener.warning(
            f"the smaller last batch of an epoch is left out at every batch size, as with "
            f"--drop-last: at batch size {trial.batch_size} it has {rest} of the {trial.n_train} "
            f"examples, and {why}"
        )
        subject.drop_last = True
        return


def sizes_that_run(summary: WorkloadSummary, batch_sizes: Iterable[int]) -> tuple[int, ...]:
    """Those of the batch sizes that the model takes in one piece."""
    return tuple(size for size in batch_sizes if _rule(summary).holds(size))


def that_run(
    summary: WorkloadSummary, options: Iterable[Option], *, trial: Trial
) -> tuple[Option, ...]:
    """The options; those that cannot be had of this model with a note against them."""
    return tuple(_noted(summary, option, trial) for option in options)


def _noted(summary: WorkloadSummary, option: Option, trial: Trial) -> Option:
    size, micro, sizes = option.batch_size, option.micro_batch_size, _rule(summary)
    if option.note is not None:
        return option
    try:
        check_batch_norm(summary, replace(trial, batch_size=size, micro_batch_size=micro))
    except BatchSizeError as error:
        return replace(option, note=Reason.as_written(str(error)))
    if not _runs(sizes, size, micro):
        return refused(option, _why(sizes))
    if summary.loss_couples and micro < size:
        return refused(option, Reason.of("pieces_train_on_another_loss", size=micro))
    return option


def refused(option: Option, why: Reason) -> Option:
    """The option with a note against it."""
    return replace(option, note=why, step_s=Estimate.cannot_tell(why))


def check_batch_norm(summary: WorkloadSummary, trial: Trial) -> None:
    """Refuse a trial in which a layer that normalises over the batch would meet a batch of one.

    Raises:
        BatchSizeError: naming the batch size and the ways out.
    """
    if not summary.has_batch_norm:
        return
    size, micro = trial.batch_size, trial.micro_batch_size
    model = f"the model of {trial.workload!r} has BatchNorm, which cannot train on one example"
    if micro == 1:
        raise BatchSizeError(f"batch size {size} in micro-batches of 1: {model}; use at least 2")
    rest = trial.n_train % size
    if not trial.drop_last and rest % micro == 1:
        raise BatchSizeError(
            f"batch size {size}: the last batch of an epoch over {trial.n_train} examples holds "
            f"{rest}, and its last micro-batch one, but {model}; use --drop-last (drop_last=True) "
            f"or another batch size"
        )
    if size % micro == 1:
        raise BatchSizeError(
            f"micro-batch size {micro}: a batch of {size} ends in a micro-batch of one, but "
            f"{model}; use another micro-batch size"
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
