"""SweepRequest: what a sweep is asked to train, checked, and the trials that it means."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from batchlab.errors import BatchSizeError, LearningRateError, UsageError
from batchlab.plans.scaling import moves_adam, scaled, scaled_learning_rate, without_adam_settings
from batchlab.records.run import RunLength
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Sampling, Target, Trial
from batchlab.workload.definition import Workload, check_has_loss, size_of, step_takes_whole_batches
from batchlab.workload.digits import accuracy
from batchlab.workload.loading import LoadedWorkload
from batchlab.workload.stream import check_sampling

_DEFAULT_EPOCHS = 10
_DEFAULT_BATCH_SIZES: tuple[int | Literal["full"], ...] = (64, 256, 1024, "full")


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRequest:
    """What a sweep is asked to train.

    Attributes:
        batch_sizes: examples per step; "full" is the whole training set; None: 64, 256, 1024 as
            far as they are smaller than that, and "full".
        learning_rates: None: the workload's reference rate.
        seeds: how many seeds: 0, 1, ..., seeds - 1.
        length: how far each trial runs.
        scaling_rule: how the rates given for the reference batch size follow the batch size.
        sampling: "reshuffle" or "replacement".
        drop_last: leave out a smaller last batch.
        micro_batch_size: examples per forward and backward pass; None: the batch size.
        device: the PyTorch device.
        measures: what to measure of each trial beside what is always measured, by name.
    """

    batch_sizes: Sequence[int | Literal["full"]] | None
    learning_rates: Sequence[float] | None
    seeds: int
    length: RunLength
    scaling_rule: str
    sampling: Sampling
    drop_last: bool
    micro_batch_size: int | None
    device: str
    measures: tuple[str, ...] = ()


def checked_request(
    *,
    batch_sizes: Sequence[int | Literal["full"]] | None,
    learning_rates: Sequence[float] | None,
    seeds: int,
    epochs: int | None,
    steps: int | None,
    scaling_rule: str,
    sampling: Sampling,
    drop_last: bool,
    micro_batch_size: int | None,
    device: str,
    measures: Sequence[str] = (),
) -> SweepRequest:
    """A request with everything checked that can be without the workload.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
    """
    if sampling not in ("reshuffle", "replacement"):
        raise UsageError(f"sampling {sampling!r}: expected reshuffle or replacement")
    check_device(device)
    return SweepRequest(
        batch_sizes=None if batch_sizes is None else _checked_batch_sizes(batch_sizes),
        learning_rates=None if learning_rates is None else _checked_rates(learning_rates),
        seeds=_whole("seeds", seeds),
        length=_length(epochs, steps),
        scaling_rule=scaling_rule,
        sampling=sampling,
        drop_last=drop_last,
        micro_batch_size=None if micro_batch_size is None else _checked_size(micro_batch_size),
        device=device,
        measures=tuple(measures),
    )


def _length(epochs: int | None, steps: int | None) -> RunLength:
    if epochs is None and steps is None:
        epochs = _DEFAULT_EPOCHS
    return RunLength(
        epochs=None if epochs is None else _whole("epochs", epochs),
        steps=None if steps is None else _whole("steps", steps),
    )


def _whole(name: str, value: object) -> int:
    found = _as_whole(value)
    if found is None or found < 1:
        raise UsageError(f"{name}={value}: expected a whole number of at least 1")
    return found


def _as_whole(value: object) -> int | None:
    """A whole number as Python's own (NumPy's count, truth values do not), else None."""
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _checked_batch_sizes(given: object) -> tuple[int | Literal["full"], ...]:
    if isinstance(given, (str, int)) or not isinstance(given, Iterable):
        raise BatchSizeError(f"batch sizes {given!r}: expected several, such as (64, 256, 'full')")
    found: list[int | Literal["full"]] = []
    for size in given:
        found.append("full" if isinstance(size, str) and size == "full" else _checked_size(size))
    if not found:
        raise BatchSizeError("no batch size was given; give some, such as (64, 256, 'full')")
    return tuple(found)


def _checked_size(given: object) -> int:
    size = _as_whole(given)
    if size is None:
        raise BatchSizeError(f"batch size {given!r}: expected a whole number, or 'full'")
    return size


def _checked_rates(given: object) -> tuple[float, ...]:
    if isinstance(given, (str, int, float)) or not isinstance(given, Iterable):
        raise LearningRateError(f"learning rates {given!r}: expected several, such as (0.01, 0.1)")
    found = tuple(_checked_rate(rate) for rate in given)
    if not found:
        raise LearningRateError("no learning rate was given; give some, such as (0.01, 0.1)")
    return found


def _checked_rate(given: Any, *, whose: str = "") -> float:
    try:
        rate = float(given)
    except (TypeError, ValueError):
        rate = math.nan
    if isinstance(given, (str, bool)) or not (math.isfinite(rate) and rate > 0):
        raise LearningRateError(
            f"learning rate {given!r}{whose}: expected a finite number above 0, such as 0.01"
        )
    return rate


def check_device(device: str) -> None:
    """Refuse a device that is none, or not of this machine.

    Raises:
        UsageError: naming the devices that there are.
    """
    kind, _, index = str(device).partition(":")
    if device not in ("cpu", "cuda") and not (kind == "cuda" and index.isdecimal()):
        raise UsageError(f"device {device!r}: expected cpu, cuda or cuda:N")
    if kind == "cuda":
        n = torch.cuda.device_count()
        if int(index or 0) >= n:
            raise UsageError(
                f"device {device!r}: PyTorch {torch.__version__} sees {n} CUDA devices on this "
                f"machine; use cpu" + (f", or cuda:0 to cuda:{n - 1}" if n else "")
            )


def checked_target(workload: Workload, target: tuple[str, float]) -> Target:
    """The target `(metric, value)` on the validation data of `workload`.

    Raises:
        UsageError: it has no such metric or no validation data, or the value is not finite or no
            accuracy.
    """
    if not _is_target(target):
        raise UsageError(
            f"target {target!r}: expected a metric and its value, such as "
            f'("{workload.metric_names[0]}", 0.97)'
        )
    metric, value = target
    if metric not in workload.metric_names:
        raise UsageError(
            f"target {metric}={value}: workload {workload.name!r} has no metric {metric!r}; it has "
            f"{', '.join(workload.metric_names)}"
        )
    if not math.isfinite(value):
        raise UsageError(f"target {metric}={value}: expected a finite number")
    if workload.validation is None:
        raise UsageError(
            f"target {metric}={value}: workload {workload.name!r} has no validation set to measure "
            f"it on; give it one"
        )
    if workload.metrics.get(metric) is accuracy and not 0 <= value <= 1:
        raise UsageError(outside_of_a_share(metric, value))
    return Target(metric=metric, value=value, better=workload.better(metric))


def _is_target(given: object) -> bool:
    match given:
        case (str(), value):
            return isinstance(value, int | float) and not isinstance(value, bool)
    return False


def outside_of_a_share(metric: str, value: float) -> str:
    """What is said of a target above 1 or below 0 for a metric that is a share of the examples."""
    meant = f"; did you mean {value / 100:g}?" if 2 <= value <= 100 else ""
    return f"target {metric}={value:g}: {metric} is a share of the examples, from 0 to 1{meant}"


def plan_trials(loaded: LoadedWorkload, request: SweepRequest) -> tuple[Trial, ...]:
    """The trials of a sweep: seeds, then rates, then batch sizes; each once.

    Raises:
        BatchSizeError: a batch or micro-batch size that the training set does not allow.
        UsageError: a way of sampling where the workload chooses its own order.
        LearningRateError: the workload's reference rate is no finite number above 0.
    """
    workload = loaded.workload
    for measure in request.measures:
        check_has_loss(workload, f"measure {measure!r}")
    check_sampling(workload, request.sampling)
    n_train = size_of(workload.train)
    own = f", the reference of workload {workload.name!r}"
    rates = request.learning_rates or (_checked_rate(workload.learning_rate, whose=own),)
    if (_as_whole(workload.batch_size) or 0) < 1:
        raise BatchSizeError(
            f"batch size {workload.batch_size!r}{own}: expected a whole number of at least 1"
        )
    sizes = request.batch_sizes
    if sizes is None:
        sizes = [size for size in _DEFAULT_BATCH_SIZES if size == "full" or size < n_train]
    trials: dict[str, Trial] = {}
    for seed in range(request.seeds):
        for rate in rates:
            for given in sizes:
                batch_size = n_train if given == "full" else int(given)
                check_batch_size(batch_size, workload=workload.name, n_train=n_train)
                micro = batch_size
                if request.micro_batch_size is not None:
                    micro = request.micro_batch_size
                if micro < 1:
                    raise BatchSizeError(
                        f"micro-batch size {micro}: expected a whole number of at least 1"
                    )
                if micro > batch_size:
                    raise BatchSizeError(
                        f"micro-batch size {micro} with batch size {batch_size}: expected 1 to "
                        f"{batch_size}; give a smaller one, or only batch sizes of at least {micro}"
                    )
                if micro < batch_size and not workload.takes_micro_batches:
                    raise BatchSizeError(step_takes_whole_batches(workload.name, batch_size, micro))
                trial = Trial(
                    workload_id=loaded.workload_id,
                    workload=workload.name,
                    settings=loaded.settings,
                    n_train=n_train,
                    batch_size=batch_size,
                    micro_batch_size=micro,
                    sampling=request.sampling,
                    drop_last=request.drop_last,
                    learning_rate=scaled_learning_rate(
                        rate,
                        rule=request.scaling_rule,
                        batch_size=batch_size,
                        reference_batch_size=workload.batch_size,
                    ),
                    scaling_rule=request.scaling_rule,
                    horizon_steps=None,
                    device=request.device.partition(":")[0],
                    seed=seed,
                )
                if workload.has_schedule:
                    trial = replace(trial, horizon_steps=request.length.last_step(trial))
                trials[trial.trial_id] = trial
    return tuple(trials.values())


def check_scaling_rule(summary: WorkloadSummary, trials: Iterable[Trial]) -> None:
    """Refuse trials whose scaling rule moves settings that the optimizer does not have.

    Raises:
        UsageError: naming what the rule needs, or how far it goes.
    """
    for trial in trials:
        if not moves_adam(trial.scaling_rule):
            continue
        if summary.adam is None:
            what = f"the optimizer of workload {summary.name!r}"
            raise without_adam_settings(what, rule=trial.scaling_rule)
        scaled(
            1.0,
            rule=trial.scaling_rule,
            batch_size=trial.batch_size,
            reference_batch_size=summary.batch_size,
            adam=summary.adam,
        )


def check_batch_norm(summary: WorkloadSummary, trials: Iterable[Trial]) -> None:
    """Refuse trials in which a layer that normalises over the batch would meet a batch of one.

    Raises:
        BatchSizeError: naming the batch size and the ways out.
    """
    if not summary.has_batch_norm:
        return
    for trial in trials:
        size, micro = trial.batch_size, trial.micro_batch_size
        model = f"the model of {trial.workload!r} has BatchNorm, which cannot train on one example"
        if micro == 1:
            raise BatchSizeError(
                f"batch size {size} in micro-batches of 1: {model}; use at least 2"
            )
        rest = trial.n_train % size
        if not trial.drop_last and rest % micro == 1:
            raise BatchSizeError(
                f"batch size {size}: the last batch of an epoch over {trial.n_train} examples "
                f"holds {rest}, and its last micro-batch one, but {model}; use --drop-last "
                f"(drop_last=True) or another batch size"
            )
        if size % micro == 1:
            raise BatchSizeError(
                f"micro-batch size {micro}: a batch of {size} ends in a micro-batch of one, but "
                f"{model}; use another micro-batch size"
            )


def check_batch_size(batch_size: int, *, workload: str, n_train: int) -> None:
    """Refuse a batch size outside 1..N.

    Raises:
        BatchSizeError: naming the size, the possible range and the word for N.
    """
    if not 1 <= batch_size <= n_train:
        raise BatchSizeError(
            f"batch size {batch_size} for workload {workload!r}: expected 1 to {n_train}, the size "
            f"of its training set; use 'full' for all of it in one batch"
        )
