"""OwnTraining: the fields of a workload that say how it trains otherwise than by plain steps.

A `step` of its own, clipping, averaged weights, schedulers and early stopping: what each may be,
and which of them go together.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from batchlab.errors import UsageError, WorkloadError

if TYPE_CHECKING:
    from batchlab.workload.definition import Workload

NAMED_PARAMETERS = "named_parameters"
"""What the first parameter of `optimizer` is called where it asks for names too."""
HORIZONS = ("n_steps", "n_epochs")
"""What a scheduler may ask for beside the optimizer: how long the run is."""
_HOW_OFTEN = ("epoch", "step")


def check_own_training(workload: Workload) -> None:
    """Refuse fields that are impossible, and those that do not go together.

    Raises:
        WorkloadError: naming the field, what it may be and what to do.
    """
    for told in _refusals(workload):
        raise WorkloadError(f"workload {workload.name!r}: {told}")


def asks_for_names(optimizer: Callable[..., Any]) -> bool:
    """Whether the optimizer function wants (name, parameter) pairs, as its first parameter says."""
    return next(iter(_parameter_names(optimizer)), None) == NAMED_PARAMETERS


def horizons_of(scheduler: Callable[..., Any]) -> tuple[str, ...]:
    """Which of `n_steps` and `n_epochs` the scheduler function asks for."""
    return tuple(name for name in HORIZONS if name in _parameter_names(scheduler))


def check_has_loss(workload: Workload, asked: str) -> None:
    """Refuse what looks at the loss of a workload that has none.

    Args:
        workload: it may have a `step` and metrics instead.
        asked: what needs the loss, the subject of a sentence.

    Raises:
        UsageError: it has no loss; the message says what to give.
    """
    if workload.loss is None:
        raise UsageError(
            f"workload {workload.name!r}: {asked} needs its loss, and it has only a `step`; give "
            f"it `loss` too, a function of the model and a batch"
        )


def step_takes_whole_batches(name: str, batch_size: int, micro_batch_size: int) -> str:
    """What is said of micro-batches for a `step` that does not take them.

    Args:
        name: the workload's.
        batch_size: examples per step.
        micro_batch_size: what it was to be cut into.
    """
    return (
        f"batch size {batch_size} in micro-batches of {micro_batch_size}: the `step` of workload "
        f"{name!r} takes whole batches; let it take a tuple of micro-batches and say "
        f"accumulates=True, or leave micro-batches out"
    )


def _refusals(workload: Workload) -> Iterator[str]:
    yield from _of_step(workload)
    yield from _of_numbers(workload)
    yield from _of_scheduler(workload)


def _of_step(workload: Workload) -> Iterator[str]:
    if workload.step is not None and not callable(workload.step):
        yield (
            f"step is {workload.step!r}; expected a function of the model, the optimizer and a "
            f"batch that takes one optimizer step and returns its loss"
        )
    if not isinstance(workload.accumulates, bool):
        yield f"accumulates is {workload.accumulates!r}; expected True or False"
    if workload.accumulates and workload.step is None:
        yield (
            "accumulates=True without a `step`: it says that `step` takes a tuple of "
            "micro-batches; leave it out, for batchlab cuts the batches of a plain `loss` itself"
        )
    if workload.loss is None and workload.step is None:
        yield (
            "it has no loss; give it loss=lambda model, batch: ..., the mean over the batch, or a "
            "`step` of its own"
        )
    if workload.loss is None and not workload.metrics:
        yield (
            "it has a `step` and neither a loss nor metrics, so nothing could be evaluated; give "
            "it `loss`, or `metrics`"
        )
    if workload.step is not None and workload.clip_norm is not None:
        yield (
            "clip_norm beside a `step`: the step clips itself; leave clip_norm out and call "
            "torch.nn.utils.clip_grad_norm_(model.parameters(), ...) before its optimizer.step()"
        )


def _of_numbers(workload: Workload) -> Iterator[str]:
    clip, ema, patience = workload.clip_norm, workload.ema, workload.patience_epochs
    if clip is not None and not (_is_number(clip) and 0 < clip < float("inf")):
        yield f"clip_norm is {clip!r}; expected a number above 0, such as clip_norm=1.0"
    if ema is not None and not (_is_number(ema) and 0 < ema < 1):
        yield (
            f"ema is {ema!r}; expected the decay per step at the reference batch size, between 0 "
            f"and 1, such as ema=0.999"
        )
    is_whole = isinstance(patience, int) and not isinstance(patience, bool)
    if patience is not None and not (is_whole and patience >= 1):
        yield (
            f"patience_epochs is {patience!r}; expected a whole number of epochs of at least 1, "
            f"or None"
        )


def _of_scheduler(workload: Workload) -> Iterator[str]:
    scheduler = workload.scheduler
    if workload.scheduler_every not in _HOW_OFTEN:
        yield f"scheduler_every is {workload.scheduler_every!r}; expected 'epoch' or 'step'"
    if scheduler is None:
        if workload.scheduler_every == "step":
            yield "scheduler_every='step' without a scheduler; give it one, or leave it out"
        return
    if not callable(scheduler):
        yield (
            f"scheduler is a {type(scheduler).__name__}; expected a function that makes a new one: "
            f"scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)"
        )
        return
    if workload.schedule is not None:
        yield "it has a schedule and a scheduler, and both set the learning rate; give one of them"
    if workload.scheduler_every == "step" and "n_steps" not in _parameter_names(scheduler):
        yield (
            "its scheduler goes on with every step and does not take the run's length: a fixed "
            "number of steps is another part of the training at each batch size; write "
            "scheduler=lambda optimizer, n_steps: ..., or scheduler_every='epoch'"
        )


def _parameter_names(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # written in C, without a signature
        return []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
