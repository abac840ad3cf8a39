"""Workload check: whether it can be trained, its loss is a mean, and its metrics run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from batchlab.errors import WorkloadError
from batchlab.measure.accumulation import is_batch_norm, look_at_loss
from batchlab.measure.examples import (
    IN_TRAINING_ALONE,
    batch_from,
    check_batch_counts,
    evaluating,
    new_model,
    places,
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
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Split
from batchlab.training.batching import check_streams, on_device, sampled_order
from batchlab.training.evaluator import OVER_ALL, asking, asking_metric, is_over_all, tally_of
from batchlab.training.optimizers import MadeOptimizers, adam_settings, made_optimizers
from batchlab.workload.definition import SPLITS, Workload, is_compiled, size_of, uncompiled

_MANY, _AT_ONCE = 1000, 64
_SEED = 0
_COMPILED = (
    "torch.compile is left out, because compiling in every run would take longer than a short "
    "training. Results are the same up to rounding, but steps may be faster in your own training "
    "than the times here, at some batch sizes more than at others"
)


def check_metrics(workload: Workload, model: nn.Module, device: torch.device) -> None:
    """Compute every metric as an evaluation does.

    Raises:
        WorkloadError: a metric fails, or fails without gradients.
    """
    splits = [split for split in SPLITS[:2] if getattr(workload, split) is not None]
    n_spread, n_few = size_of(getattr(workload, splits[-1])), min(_AT_ONCE, size_of(workload.train))
    spread = torch.linspace(0, n_spread - 1, min(n_spread, _MANY)).round().long().tolist()
    with evaluating(model):
        for name in workload.metrics:
            ask = _Asking(workload, model, name, device)
            if not is_over_all(workload, name):
                # Its value may be undefined: an F1 without a positive example is 0 / 0.
                ask.explained("train", places(workload, n_few), has_value=False)
            ask.explained(splits[-1], spread)


@dataclass(frozen=True, slots=True)
class _Asking:
    """A metric that is computed on some examples, without gradients, as an evaluation does."""

    workload: Workload
    model: nn.Module
    name: str
    device: torch.device

    def value(self, split: Split, chosen: Sequence[int], *, has_value: bool = True) -> None:
        tally, data = tally_of(self.workload, self.name), getattr(self.workload, split)
        where = f"{len(chosen)} examples of {split}"
        with torch.no_grad(), asking_metric(self.workload, self.name, where):
            for start in range(0, len(chosen), _AT_ONCE):
                part = chosen[start : start + _AT_ONCE]
                batch = batch_from(self.workload, data, part, split=split)
                tally.add(self.model, on_device(batch, self.device))
            if has_value:
                tally.value()

    def explained(self, split: Split, chosen: Sequence[int], *, has_value: bool = True) -> None:
        """Compute it; if it raises, say what lets it run."""
        try:
            self.value(split, chosen, has_value=has_value)
        except WorkloadError as error:
            n_other = size_of(self.workload.validation) if split == "train" else 0
            others = range(min(n_other, _AT_ONCE))
            runs_on_others = bool(others) and succeeds(
                lambda: self.value("validation", others, has_value=has_value)
            )
            self.model.train()
            if "does not require grad" in str(error):
                why = (
                    "evaluations are without gradients; give a metric that differentiates as "
                    "batchlab.Metric(..., enable_grad=True)"
                )
            elif runs_on_others:
                why = (
                    "on validation examples it runs, but metrics are taken on both; if `collate` "
                    "augments (mixup), give that as `augment`, which changes only what steps get"
                )
            elif succeeds(lambda: self.value(split, chosen, has_value=has_value)):
                why = IN_TRAINING_ALONE
            else:
                raise
            # What lets it run is said in place of a guess.
            raise WorkloadError(f"{str(error).removesuffix(OVER_ALL)}: {why}") from error


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
    model = new_model(workload)
    compiled = (_COMPILED,) if is_compiled(model) else ()
    model = uncompiled(model).to(torch.device(device))
    parameters = [part for part in model.parameters() if part.requires_grad]
    if not parameters:
        raise WorkloadError(
            f"workload {workload.name!r}: its model has no trainable parameters; `model` must "
            f"return an nn.Module with some"
        )
    made = _made_optimizers(workload, model)
    on = torch.device(device)
    if workload.make_sampler is not None:
        with asking(workload, "`make_sampler`"):
            size = min(workload.batch_size, size_of(workload.train))
            plan = BatchPlan(n_train=size_of(workload.train), batch_size=size, drop_last=False)
            sampled_order(workload, plan, seed=_SEED)
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
        warnings=(*known.warnings, *compiled, *seen.warnings, *steps.warnings, *resumed),
        loss_couples=seen.couples,
        last_batch_runs=steps.last_batch_runs,
    )


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
