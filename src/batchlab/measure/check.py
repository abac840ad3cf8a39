"""Workload check: whether it can be trained, its loss is a mean, and its metrics run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import nn

from batchlab.errors import WorkloadError
from batchlab.measure.accumulation import is_batch_norm, look_at_loss
from batchlab.measure.examples import (
    around,
    check_batch_counts,
    check_model_is_new,
    evaluating,
    succeeds,
)
from batchlab.measure.steps_check import (
    LEAST_STEPS,
    StepSeen,
    check_own_step,
    check_step,
    resumption_warnings,
)
from batchlab.processes.children import Line
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import seed_everything
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.study import WorkloadSummary
from batchlab.training.batching import check_streams, on_device, sampled_order
from batchlab.training.evaluator import asking, asking_metric, is_over_all, tally_of
from batchlab.training.optimizers import MadeOptimizers, adam_settings, made_optimizers
from batchlab.workload.data import fetched
from batchlab.workload.definition import Batch, Workload, size_of

_MANY, _AT_ONCE = 1000, 64
_SEED = 0


def check_metrics(workload: Workload, model: nn.Module, device: torch.device) -> None:
    """Compute every metric as an evaluation does.

    Raises:
        WorkloadError: a metric fails, or fails without gradients.
    """
    n_few = min(_AT_ONCE, size_of(workload.train))
    few = on_device(around(workload, n_few), device)
    with evaluating(model):
        for name in workload.metrics:
            if not is_over_all(workload, name):
                # Its value may be undefined: an F1 without a positive example is 0 / 0.
                where = f"{n_few} examples of train"
                _ask(workload, model, name, lambda: [few], where, has_value=False)
            _ask_about_many(workload, model, name, device)


def _ask_about_many(workload: Workload, model: nn.Module, name: str, device: torch.device) -> None:
    """Compute the metric on up to 1000 evenly spaced validation examples, or else training ones."""
    split = "train" if workload.validation is None else "validation"
    data = getattr(workload, split)
    n = size_of(data)
    n_asked = min(n, _MANY)
    parts = torch.linspace(0, n - 1, n_asked).round().long().split(_AT_ONCE)

    def batches() -> Iterator[Batch]:
        return (on_device(fetched(data, part, workload.collate), device) for part in parts)

    _ask(workload, model, name, batches, f"{n_asked} examples of {split}")


def _ask(
    workload: Workload,
    model: nn.Module,
    name: str,
    batches: Callable[[], Iterable[Batch]],
    where: str,
    *,
    has_value: bool = True,
) -> None:
    """Compute a metric without gradients, as an evaluation does."""

    def ask() -> None:
        tally = tally_of(workload, name)
        for batch in batches():
            tally.add(model, batch)
        if has_value:
            tally.value()

    try:
        with torch.no_grad(), asking_metric(workload, name, where):
            ask()
    except WorkloadError as error:
        if "does not require grad" in str(error):
            raise WorkloadError(
                f"{error}: evaluations are without gradients; give a metric that differentiates "
                f"as batchlab.Metric(..., enable_grad=True)"
            ) from error
        model.train()
        if not succeeds(ask):
            raise
        raise WorkloadError(
            f"{error}: in evaluation mode (model.eval()), for in training mode it runs; let it "
            f"take what the model gives in evaluation mode"
        ) from error


def check_workload(
    line: Line, packed: PackedWorkload, device: str, known: WorkloadSummary, with_steps: bool = True
) -> WorkloadSummary:
    """Make the model and check its loss, its metrics, batches of every split and training steps.

    Return `known` completed, with warnings about anything that is odd but can be trained. Without
    `with_steps` no training steps are taken, because memory may not be enough for them.

    Raises:
        WorkloadError: the workload cannot be trained as it is; the message says what to change.
    """
    workload = packed.unpack()
    check_model_is_new(workload)
    seed_everything(_SEED)
    model = _made(workload).to(torch.device(device))
    parameters = [part for part in model.parameters() if part.requires_grad]
    if not parameters:
        raise WorkloadError(
            f"workload {workload.name!r}: its model has no trainable parameters; `model` must "
            f"return an nn.Module with some"
        )
    made = _made_optimizers(workload, model)
    on = torch.device(device)
    _check_sampler(workload)
    check_streams(workload)
    check_batch_counts(workload)
    seen = look_at_loss(workload, model, on)
    check_metrics(workload, model, on)
    steps, resumed = StepSeen(examples=0, warnings=()), tuple[str, ...]()
    if with_steps:
        steps = check_step(workload, on)
        moved_after = check_own_step(workload, on, n_examples=steps.examples)
        # If the first update waits for a number of steps, the stop comes just before it.
        n_steps = max(LEAST_STEPS, moved_after - 1)
        resumed = resumption_warnings(packed, device, n_examples=steps.examples, n_steps=n_steps)
    return replace(
        known,
        n_parameters=sum(part.numel() for part in parameters),
        has_batch_norm=any(map(is_batch_norm, model.modules())),
        adam=adam_settings(*made.optimizers),
        warnings=(
            *known.warnings,
            *seen.warnings,
            *steps.warnings,
            *resumed,
        ),
        loss_couples=seen.couples,
        last_batch_runs=steps.last_batch_runs,
    )


def _made(workload: Workload) -> nn.Module:
    with asking(workload, "`model`"):
        model = workload.model()
    if not isinstance(model, nn.Module):
        raise WorkloadError(
            f"workload {workload.name!r}: `model` returned a {type(model).__name__}; expected an "
            f"nn.Module"
        )
    return model


def _made_optimizers(workload: Workload, model: nn.Module) -> MadeOptimizers:
    with asking(workload, "`optimizer`"):
        made = made_optimizers(workload, model, workload.learning_rate)
        # If it ignores the rate that it is given, all rates that are tried would be the same.
        twice = made_optimizers(workload, model, 2 * workload.learning_rate)
    rates, doubled = _rates(made), _rates(twice)
    if rates and rates == doubled:
        raise WorkloadError(
            f"workload {workload.name!r}: `optimizer` does not use the learning rate that it is "
            f"given; it sets {rates[0]:g} always: pass the rate on, as lr=learning_rate"
        )
    return made


def _rates(made: MadeOptimizers) -> list[float]:
    groups = (group for each in made.optimizers for group in each.param_groups)
    return [float(group["lr"]) for group in groups if "lr" in group]


def _check_sampler(workload: Workload) -> None:
    if workload.make_sampler is not None:
        with asking(workload, "`make_sampler`"):
            size = min(workload.batch_size, size_of(workload.train))
            plan = BatchPlan(n_train=size_of(workload.train), batch_size=size, drop_last=False)
            sampled_order(workload, plan, seed=_SEED)
