"""Check that a workload can be trained, its loss is a mean, and its metrics can be computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from batchlab.errors import WorkloadError
from batchlab.measure.accumulation import NEEDS_GRADIENTS, look_at_loss
from batchlab.measure.examples import (
    batch_from,
    check_batch_counts,
    explained,
    new_model,
    places,
)
from batchlab.measure.gradients import n_numbers, trainable_parameters
from batchlab.measure.steps_check import check_steps
from batchlab.processes.children import Line
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Split
from batchlab.training.batching import on_device
from batchlab.training.evaluator import asking, asking_metric, is_over_all, tally_of
from batchlab.training.optimizers import MadeOptimizers, adam_settings, made_optimizers
from batchlab.workload.data import StreamPass, is_stream, opened
from batchlab.workload.definition import SPLITS, Workload, is_compiled, size_of, uncompiled
from batchlab.workload.precision import check_precision

_MANY, _AT_ONCE = 1000, 64  # The most examples to check a metric on, in total and per batch.
_SHORT = 10_000  # A stream of at most this many examples is read to its end.
COMPILED: Final = (
    "torch.compile is left out of all trainings, because compiling in every run would take longer "
    "than a short one. Results are the same up to rounding. Compiled steps may be faster, at some "
    "batch sizes more than at others: batchlab profile times them, and batchlab advise --profile "
    "compares batch sizes by those times"
)
"""The warning about a workload whose `model` returns a model compiled with torch.compile."""


def check_workload(
    line: Line, packed: PackedWorkload, device: str, known: WorkloadSummary, with_steps: bool = True
) -> WorkloadSummary:
    """Make the model and check its loss, its metrics, batches of every split and training steps.

    Return `known` with the results, including warnings about problems that allow training.
    If `with_steps` is false, compute no gradient, because memory may not suffice.

    Raises:
        WorkloadError: the workload cannot be trained as it is; the message says what to change.
    """
    workload, on = packed.unpack(), torch.device(device)
    check_precision(workload, on)
    model = new_model(workload)
    warnings = list(known.warnings)
    if is_compiled(model):
        warnings.append(COMPILED)
    model = uncompiled(model).to(on)
    parameters = trainable_parameters(model)
    if not parameters:
        raise WorkloadError(
            f"workload {workload.name!r}: its model has no trainable parameters; `model` must "
            f"return an nn.Module with some"
        )
    optimizers = _checked_optimizers(workload, model)
    _check_streams(workload)
    check_batch_counts(workload)
    about_loss, loss_couples = look_at_loss(workload, model, on, with_gradients=with_steps)
    if about_loss is not None:
        warnings.append(about_loss)
    for name in workload.metrics:
        _check_metric(workload, model.eval(), name, on)
    last_batch_runs = True
    if with_steps:
        about_steps, last_batch_runs = check_steps(packed, on)
        warnings += about_steps
    return replace(
        known,
        n_parameters=n_numbers(parameters),
        has_batch_norm=any(isinstance(layer, _BatchNorm) for layer in model.modules()),
        adam=adam_settings(*optimizers.optimizers),
        has_weight_decay=any(group.get("weight_decay") for group in _groups(optimizers)),
        warnings=tuple(warnings),
        loss_couples=loss_couples,
        last_batch_runs=last_batch_runs,
    )


def _check_streams(workload: Workload) -> None:
    """Check that each short stream, read to its end, has as many examples as its length says.

    Raises:
        WorkloadError: a stream has more or fewer examples than its length says.
    """
    for split in SPLITS:
        data, _ = opened(getattr(workload, split), None)
        if data is not None and is_stream(data) and len(data) <= _SHORT:
            what = f"workload {workload.name!r}: {split}"
            StreamPass(data, epoch=0, seed=0, what=what).check_end()


def _checked_optimizers(workload: Workload, model: nn.Module) -> MadeOptimizers:
    with asking(workload, "`optimizer`"):
        optimizers = made_optimizers(workload, model, workload.learning_rate)
        # Detect an optimizer that ignores its learning rate: a search over rates would be useless.
        twice = made_optimizers(workload, model, 2 * workload.learning_rate)
    rates, doubled = _rates(optimizers), _rates(twice)
    if rates and rates == doubled:
        raise WorkloadError(
            f"workload {workload.name!r}: `optimizer` does not use the learning rate that it is "
            f"given; it sets {rates[0]:g} always: pass the rate on, as lr=learning_rate"
        )
    return optimizers


def _rates(optimizers: MadeOptimizers) -> list[float]:
    return [float(group["lr"]) for group in _groups(optimizers) if "lr" in group]


def _groups(optimizers: MadeOptimizers) -> list[dict[str, Any]]:
    return list(chain.from_iterable(map(attrgetter("param_groups"), optimizers.optimizers)))


# ---- metrics


_RUNS_ON_VALIDATION = (
    ": on validation examples it runs, but metrics are taken on both; if `collate` augments "
    "(mixup), give that as `augment`, which changes only what steps get"
)


def _check_metric(workload: Workload, model: nn.Module, name: str, device: torch.device) -> None:
    """Compute a metric on up to 64 training examples and up to 1,000 validation examples.

    Raises:
        WorkloadError: the metric fails; the message suggests a change that helps, if one is found.
    """

    def add(
        split: Split, chosen: Sequence[int], *, to_end: bool, with_gradients: bool = False
    ) -> None:
        tally = tally_of(workload, name)
        asked = asking_metric(workload, name, f"{len(chosen)} examples of {split}")
        with torch.set_grad_enabled(with_gradients), asked:
            for start in range(0, len(chosen), _AT_ONCE):
                chunk = chosen[start : start + _AT_ONCE]
                tally.add(model, on_device(batch_from(workload, chunk, split=split), device))
            if to_end:
                tally.value()

    n_train, n_validation = size_of(workload.train), size_of(workload.validation)
    if not is_over_all(workload, name):
        few = places(workload, min(_AT_ONCE, n_train))
        first = range(max(1, min(_AT_ONCE, n_validation)))
        # Add examples without computing the value, which may be undefined for a few examples: an
        # F1 score without a positive example is 0 / 0.
        explained(
            model,
            lambda: add("train", few, to_end=False),
            (NEEDS_GRADIENTS, lambda: add("train", few, to_end=False, with_gradients=True)),
            (_RUNS_ON_VALIDATION, lambda: add("validation", first, to_end=False)),
        )
    split: Split = "validation" if n_validation else "train"
    n = n_validation or n_train
    spread = torch.linspace(0, n - 1, min(n, _MANY)).round().long().tolist()
    explained(
        model,
        lambda: add(split, spread, to_end=True),
        (NEEDS_GRADIENTS, lambda: add(split, spread, to_end=True, with_gradients=True)),
    )
