"""MetricCheck: does each metric give a number, of a few examples and of a split's last batch?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from batchlab.errors import WorkloadError
from batchlab.measurements.few_examples import around, batch_from
from batchlab.measurements.users_code import asking, evaluating
from batchlab.processes.memory import is_out_of_memory
from batchlab.records.runnable_sizes import RunnableSizes
from batchlab.records.trial import Trial
from batchlab.training.batching import on_device
from batchlab.training.evaluator import (
    as_metric,
    evaluated_sum,
    evaluation_batch,
    n_train_evaluated,
    tally_of,
)
from batchlab.training.whole_set_metric import is_over_all
from batchlab.workload.definition import Batch, Metric, Workload, size_of
from batchlab.workload.fetching import fetched

_EXAMPLES = 8
_MANY, _MANY_AT_ONCE = 1000, 64
_SPLITS = ("train", "validation", "test")


def check_metrics(
    workload: Workload, model: nn.Module, device: torch.device, sizes: RunnableSizes
) -> tuple[str, ...]:
    """Ask every metric as an evaluation does.

    Args:
        workload: what is evaluated.
        model: its model.
        device: where.
        sizes: how many examples the model takes in eval mode.

    Returns:
        What is left out of the evaluations, in words.

    Raises:
        WorkloadError: a metric fails, or fails without gradients.
    """
    batch = on_device(around(workload, sizes.at_once(_EXAMPLES)), device)
    with evaluating(model):
        for name in workload.metrics:
            if not is_over_all(workload, name):
                _ask(workload, model, name, batch)
            if _is_of_many(workload, name):
                _ask_about_many(workload, model, name, device, sizes)
    at_once = sizes.at_once(_usual(workload))
    warnings = [
        text for split in _SPLITS for text in _left_out(workload, split, sizes, at_once=at_once)
    ]
    with evaluating(model):
        _ask_about_the_last(workload, model, device, sizes, at_once=at_once)
    return tuple(warnings)


def _is_of_many(workload: Workload, name: str) -> bool:
    """Whether of a few examples it may not exist: an F1 without a positive one is 0 / 0."""
    given = workload.metrics[name]
    has_finalise = isinstance(given, Metric) and given.finalise is not None
    return has_finalise or is_over_all(workload, name)


def _ask(workload: Workload, model: nn.Module, name: str, batch: Batch, where: str = "") -> None:
    """Ask for the sum and the count of one batch."""

    def ask(workload: Workload) -> None:
        metric = as_metric(workload, name)
        assert metric.count is not None
        total = evaluated_sum(metric, model, batch)
        float(metric.count(batch))  # 0 where a few examples are nothing but padding
        if metric.finalise is None:
            float(total)

    _offering_gradients(workload, name, ask, where=where)


def _ask_about_many(
    workload: Workload, model: nn.Module, name: str, device: torch.device, sizes: RunnableSizes
) -> None:
    """Ask for the metric of up to 1000 evenly spaced examples that are not trained on."""
    split = "train" if workload.validation is None else "validation"
    data = getattr(workload, split)
    at_once, n = sizes.at_once(_MANY_AT_ONCE), size_of(data)
    n_asked = sizes.n_used(min(n, _MANY), at_once=at_once)
    if n_asked == 0:  # `_left_out` refuses that
        return
    chosen = torch.linspace(0, n - 1, n_asked).round().long()

    def ask(workload: Workload) -> None:
        tally = tally_of(workload, name)
        for part in chosen.split(at_once):
            tally.add(model, on_device(fetched(data, part, workload.collate), device))
        tally.value()

    _offering_gradients(workload, name, ask, where=f" of {n_asked} examples of {split}")


def _offering_gradients(
    workload: Workload, name: str, ask: Callable[[Workload], None], *, where: str = ""
) -> None:
    """Ask for a metric without gradients; where only they were missing, the error says so."""
    try:
        with torch.no_grad(), asking(workload, f"metric {name!r}{where}"):
            ask(workload)
    except WorkloadError as error:
        differentiating = _with_gradients(workload, name)
        if differentiating is None or not _succeeds(lambda: ask(differentiating)):
            raise
        how = "over_all" if is_over_all(workload, name) else "sum"
        raise WorkloadError(
            f"workload {workload.name!r}: metric {name!r} differentiates, and evaluations are "
            f"without gradients; give it as batchlab.Metric({how}=..., "
            f'better="{workload.better(name)}", enable_grad=True), which keeps them'
        ) from error


def _with_gradients(workload: Workload, name: str) -> Workload | None:
    """The workload with gradients for one metric; None: it has them already."""
    given = workload.metrics.get(name)
    if not is_over_all(workload, name):
        metric = as_metric(workload, name)
    elif isinstance(given, Metric):
        metric = given
    else:
        metric = Metric(over_all=given, better=workload.better(name))
    if metric.enable_grad:
        return None
    metrics = {**workload.metrics, name: replace(metric, enable_grad=True)}
    return replace(workload, metrics=metrics)


def _succeeds(function: Callable[[], object]) -> bool:
    try:
        function()
    except Exception:
        return False
    return True


def _usual(workload: Workload) -> int:
    """The evaluation batch of the workload's own configuration."""
    trial = Trial.of_whole_batches(
        workload_id="",
        workload=workload.name,
        n_train=size_of(workload.train),
        batch_size=workload.batch_size,
        learning_rate=workload.learning_rate,
        seed=0,
    )
    return evaluation_batch(trial, reference_batch_size=workload.batch_size)


def _left_out(
    workload: Workload, split: str, sizes: RunnableSizes, *, at_once: int
) -> tuple[str, ...]:
    n = size_of(getattr(workload, split))
    n = n_train_evaluated(n) if split == "train" else n
    n_used = sizes.n_used(n, at_once=at_once)
    if n == n_used:
        return ()
    if n_used == 0:
        raise WorkloadError(
            f"workload {workload.name!r}: {split} has {n} example{'s' * (n > 1)}, and its model "
            f"takes {sizes} in a pass; give {split} more examples, or let the model take fewer"
        )
    few = "the last example" if n - n_used == 1 else f"the last {n - n_used} examples"
    return (
        f"{few} of {split} ({n}) will be left out of its evaluations: the model takes {sizes} in "
        f"a pass",
    )


def _ask_about_the_last(
    workload: Workload,
    model: nn.Module,
    device: torch.device,
    sizes: RunnableSizes,
    *,
    at_once: int,
) -> None:
    """Evaluate the smaller last batch of validation, the very one that every trial will meet."""
    data = workload.validation
    n_used = sizes.n_used(size_of(data), at_once=at_once)
    rest = n_used % at_once
    if rest == 0:
        return
    chosen = range(n_used - rest, n_used)
    try:
        batch = on_device(batch_from(workload, data, chosen, split="validation"), device)
        for name in workload.metric_names:
            if is_over_all(workload, name):
                continue
            _ask(workload, model, name, batch, f" on the last {rest} examples of validation")
    except Exception as error:
        if not is_out_of_memory(error):  # what fits is for the profile to find
            raise
