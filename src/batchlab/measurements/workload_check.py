"""Workload check: can it be trained, is its loss a mean, do its splits keep apart?

It runs in a child process before anything is spent: real training steps and evaluations of models
that are thrown away, on a few examples and on the odd last batches that will come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.measurements.batch_count_check import check_batch_counts
from batchlab.measurements.batch_sizes_that_run import (
    StepSeen,
    check_step,
    sizes_in_evaluation,
    sizes_in_training,
)
from batchlab.measurements.loss_check import look_at_loss
from batchlab.measurements.metric_check import check_metrics
from batchlab.measurements.own_step_check import check_own_step
from batchlab.measurements.resumption_check import LEAST_STEPS, resumption_warnings
from batchlab.measurements.users_code import asking, evaluating
from batchlab.processes.children import Line
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import seed_everything
from batchlab.records.adam_settings import AdamSettings
from batchlab.records.runnable_sizes import ANY_SIZE, RunnableSizes
from batchlab.training.adam_settings import adam_settings
from batchlab.training.made_optimizers import MadeOptimizers, made_optimizers
from batchlab.training.sampled_order import sampled_order
from batchlab.training.stream_batches import check_streams
from batchlab.workload.columns import Columns
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.split import tensors_of

_SEED = 0
_IGNORED_LABEL = -100  # PyTorch's ignore_index


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadFacts:
    """What the check found out.

    Attributes:
        n_parameters: trainable parameters.
        has_batch_norm: whether a layer normalises over the batch, so that its size changes the
            function that is trained.
        adam: the least betas of its optimizer's groups and the first one's eps; None: it does not
            have both.
        warnings: what is odd but can be trained.
        loss_couples: whether its loss is no mean over single examples (a contrastive one), so that
            every batch size trains on another.
        couples_in_training: whether a layer other than BatchNorm makes it so in train mode.
        sizes: which batch sizes a training step takes.
        evaluated_sizes: how many examples the model takes in an evaluation.
        last_batch_runs: whether a smaller last batch of an epoch ran after others.
    """

    n_parameters: int
    has_batch_norm: bool
    adam: AdamSettings | None
    warnings: tuple[str, ...]
    loss_couples: bool = False
    couples_in_training: bool = False
    sizes: RunnableSizes = ANY_SIZE
    evaluated_sizes: RunnableSizes = ANY_SIZE
    last_batch_runs: bool = True


def check_workload(
    line: Line, packed: PackedWorkload, device: str, with_steps: bool = True
) -> WorkloadFacts:
    """Make the model, look at its loss, its metrics and a training step, compare the splits.

    Args:
        line: the connection to the parent, unused.
        packed: the workload.
        device: the PyTorch device.
        with_steps: whether training steps are taken, for which memory may not be enough.

    Returns:
        The facts, with warnings.

    Raises:
        WorkloadError: it cannot be trained as it is; the message says what to change.
    """
    workload = packed.unpack()
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
    _check_labels(workload, model, on)
    # Where nothing runs, what follows asks again and says why.
    evaluated = sizes_in_evaluation(workload, model, on) or ANY_SIZE
    check_batch_counts(workload, evaluated)
    seen = look_at_loss(workload, model, on, evaluated)
    left_out = check_metrics(workload, model, on, evaluated)
    sizes, steps, resumed = ANY_SIZE, StepSeen(examples=0, warnings=()), tuple[str, ...]()
    if with_steps:
        sizes = sizes_in_training(workload, on) or ANY_SIZE
        steps = check_step(workload, on, sizes)
        moved_after = check_own_step(workload, device, n_examples=steps.examples)
        # Stopped before the first update, where that waits for a count of steps.
        n_steps = max(LEAST_STEPS, moved_after - 1)
        resumed = resumption_warnings(packed, device, n_examples=steps.examples, n_steps=n_steps)
    return WorkloadFacts(
        n_parameters=sum(part.numel() for part in parameters),
        has_batch_norm=any(
            isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()
        ),
        adam=adam_settings(*made.optimizers),
        warnings=(
            *seen.warnings,
            *left_out,
            *steps.warnings,
            *resumed,
            *_equal_row_warnings(workload),
        ),
        loss_couples=seen.couples,
        couples_in_training=seen.couples_in_training,
        sizes=sizes,
        evaluated_sizes=evaluated,
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
        # With a rate of its own, every rate that is tried would be the same.
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
            sampled_order(workload, batch_size=size, seed=_SEED, drop_last=False)


def _check_labels(workload: Workload, model: nn.Module, device: torch.device) -> None:
    """Labels beyond the model's classes would otherwise end a trial in the middle of an epoch."""
    # Which part of columns holds the labels, if any does, only the loss knows.
    if isinstance(workload.train, Columns) or len(tensors_of(workload.train)) != 2:
        return
    inputs, labels = tensors_of(workload.train)
    if labels.ndim != 1 or labels.dtype not in (torch.int64, torch.int32):
        return
    try:
        with evaluating(model), torch.no_grad():
            output = model(inputs[:1].to(device))
    except Exception:  # the model is not called with the inputs alone: nothing to compare with
        return
    if not (isinstance(output, Tensor) and output.ndim == 2 and output.shape[1] > 1):
        return
    n_classes = output.shape[1]
    for split in ("train", "validation", "test"):
        data = tensors_of(getattr(workload, split))
        if len(data) != 2:
            continue
        wrong = ((data[1] < 0) & (data[1] != _IGNORED_LABEL)) | (data[1] >= n_classes)
        if bool(wrong.any()):
            position = int(wrong.nonzero()[0])
            raise WorkloadError(
                f"workload {workload.name!r}: label {int(data[1][position])} at position "
                f"{position} of {split}; the model gives {n_classes} scores, so labels go from 0 "
                f"to {n_classes - 1}"
            )


def _equal_row_warnings(workload: Workload) -> tuple[str, ...]:
    """Examples of train that are in another split too make the other look better than it is."""
    known: set[int] = set()
    warnings: list[str] = []
    for split in ("validation", "test"):
        data = tensors_of(getattr(workload, split))
        if not data or not tensors_of(workload.train):
            continue
        known = known or set(_row_hashes(tensors_of(workload.train)))
        equal = sum(row in known for row in _row_hashes(data))
        if equal:
            warnings.append(
                f"{equal} of {len(data[0])} examples of {split} are equal to examples of train"
            )
    return tuple(warnings)


def _row_hashes(data: tuple[Tensor, ...]) -> Iterator[int]:
    """A hash of each example's bytes, all of its tensors together: the rows stay where they are."""
    parts = [part.detach().cpu().contiguous().reshape(len(part), -1) for part in data]
    arrays = [part.view(torch.uint8).numpy() for part in parts if part.numel()]
    for row in zip(*arrays, strict=True):
        yield hash(b"".join(part.tobytes() for part in row))
