"""Workload check: can it be trained, is its loss a mean, do its splits keep apart?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.processes.children import Line
from batchlab.processes.memory import is_out_of_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.random_state import seed_everything
from batchlab.records.adam_settings import AdamSettings
from batchlab.training.adam_settings import adam_settings
from batchlab.training.batching import n_examples, on_device
from batchlab.training.evaluator import as_metric, weight_of
from batchlab.training.sampled_order import sampled_order
from batchlab.training.stepper import default_optimizer
from batchlab.training.stream_batches import check_lengths
from batchlab.training.whole_set_metric import check_over_all, is_over_all
from batchlab.workload.columns import Columns
from batchlab.workload.definition import Batch, Workload, size_of
from batchlab.workload.error_place import told
from batchlab.workload.fetching import fetched
from batchlab.workload.split import tensors_of

_EXAMPLES = 8  # enough to tell a sum from a mean, few enough for any model
_SEED = 0
# Two computations of the same mean in float32 differ by rounding; a sum is off by a factor of 2.
_TOLERANCE = 1e-3
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
    """

    n_parameters: int
    has_batch_norm: bool
    adam: AdamSettings | None
    warnings: tuple[str, ...]
    loss_couples: bool = False


def check_workload(line: Line, packed: PackedWorkload, device: str) -> WorkloadFacts:
    """Make the model, look at its loss on a few examples, compare the splits.

    Args:
        line: the connection to the parent, unused.
        packed: the workload.
        device: the PyTorch device.

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
    optimizer = _made_optimizer(workload, parameters)
    _check_sampler(workload)
    check_lengths(workload)
    _check_labels(workload, model, torch.device(device))
    loss_warnings, loss_couples = _look_at_loss(workload, model, torch.device(device))
    _check_metrics(workload, model, torch.device(device))
    return WorkloadFacts(
        n_parameters=sum(part.numel() for part in parameters),
        has_batch_norm=any(
            isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()
        ),
        adam=adam_settings(optimizer),
        warnings=(*loss_warnings, *_equal_row_warnings(workload)),
        loss_couples=loss_couples,
    )


@contextmanager
def _asking(workload: Workload, what: str) -> Iterator[None]:
    """Context: an exception of the user's function is told in one line, with its place."""
    try:
        yield
    except BatchlabError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise WorkloadError(f"workload {workload.name!r}: {what} raised {told(error)}") from error


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Context: the model in eval mode, without its dropout."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def _made(workload: Workload) -> nn.Module:
    with _asking(workload, "`model`"):
        model = workload.model()
    if not isinstance(model, nn.Module):
        raise WorkloadError(
            f"workload {workload.name!r}: `model` returned a {type(model).__name__}; expected an "
            f"nn.Module"
        )
    return model


def _made_optimizer(workload: Workload, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    make = workload.optimizer or default_optimizer
    with _asking(workload, "`optimizer`"):
        optimizer = make(parameters, workload.learning_rate)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise WorkloadError(
            f"workload {workload.name!r}: `optimizer` returned a {type(optimizer).__name__}; "
            f"expected a torch.optim.Optimizer made from the parameters and the rate it is given"
        )
    _check_rate_counts(workload, parameters, optimizer)
    return optimizer


def _check_rate_counts(
    workload: Workload, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    """Refuse an optimizer with a rate of its own: every rate that is tried would be the same."""
    make = workload.optimizer or default_optimizer
    with _asking(workload, "`optimizer`"):
        twice = make(parameters, 2 * workload.learning_rate)
    rates = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]
    if rates and rates == [float(group["lr"]) for group in twice.param_groups]:
        raise WorkloadError(
            f"workload {workload.name!r}: `optimizer` does not use the learning rate that it is "
            f"given; it sets {rates[0]:g} always: pass the rate on, as lr=learning_rate"
        )


def first_batch(workload: Workload, n: int, *, copies: int = 1) -> Batch:
    """The first `n` training examples, each `copies` times, as a batch."""
    return _batch_of(workload, range(min(n, size_of(workload.train))), copies=copies)


def _batch_of(workload: Workload, chosen: range, *, copies: int = 1) -> Batch:
    with _asking(workload, "fetching and collating examples of train"):
        return fetched(workload.train, torch.tensor([*chosen] * copies), workload.collate)


def _loss_tensor(workload: Workload, model: nn.Module, batch: Batch, *, seed: int) -> Tensor:
    seed_everything(seed)
    with _asking(workload, "`loss`"):
        loss = workload.loss(model, batch)
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        found = (
            f"a tensor of shape {tuple(loss.shape)}"
            if isinstance(loss, Tensor)
            else f"a {type(loss).__name__}"
        )
        raise WorkloadError(
            f"workload {workload.name!r}: `loss` returned {found}; expected a tensor with one "
            f"number, the mean over the batch (loss.mean() makes one)"
        )
    return loss


def _loss_of(workload: Workload, model: nn.Module, batch: Batch, *, seed: int = _SEED) -> float:
    return float(_loss_tensor(workload, model, batch, seed=seed).detach())


def _look_at_loss(
    workload: Workload, model: nn.Module, device: torch.device
) -> tuple[tuple[str, ...], bool]:
    """What is odd about the loss, and whether it couples the examples of a batch.

    A batch is doubled in eval mode with the same random numbers: a mean stays, a sum doubles.
    """
    batch = on_device(first_batch(workload, _EXAMPLES), device)
    doubled = on_device(first_batch(workload, _EXAMPLES, copies=2), device)
    with _evaluating(model):
        if not _loss_tensor(workload, model, batch, seed=_SEED).requires_grad:
            raise WorkloadError(
                f"workload {workload.name!r}: its loss does not depend on the model's parameters; "
                f"`loss` must return a tensor with a gradient (no .item(), no .detach())"
            )
        with torch.no_grad():
            loss = _loss_of(workload, model, batch)
            other_draw = _loss_of(workload, model, batch, seed=_SEED + 1)
            twice = _loss_of(workload, model, doubled)
            halves = _halves(workload, model, device)
    if not (math.isfinite(loss) and math.isfinite(twice)):
        return (f"the untrained model's loss on the first examples is {loss:g}",), False
    scale = max(abs(loss), 1e-12)
    if abs(other_draw - loss) > _TOLERANCE * scale:
        return (
            f"the loss draws random numbers ({loss:.4g} and {other_draw:.4g} for the same "
            f"examples), so it could not be checked that it is a mean over the batch",
        ), False
    if abs(twice - 2 * loss) <= _TOLERANCE * scale and abs(loss) > 1e-12:
        raise WorkloadError(
            f"workload {workload.name!r}: its loss is a sum over the batch ({loss:.4g} for "
            f"{n_examples(batch)} examples, {twice:.4g} for the same examples twice); expected "
            f"the mean (divide by the number of examples), else the learning rate means something "
            f"else at every batch size"
        )
    doubling_changes_it = abs(twice - loss) > _TOLERANCE * scale
    mean = math.fsum(weight * half for weight, half in halves) / math.fsum(w for w, _ in halves)
    if not doubling_changes_it and abs(mean - loss) <= _TOLERANCE * scale:
        return (), False
    # A mean over other units (tokens, weights of classes) lies between those of its halves.
    low, high = min(half for _, half in halves), max(half for _, half in halves)
    outside = not low - _TOLERANCE * scale <= loss <= high + _TOLERANCE * scale
    return (
        f"the loss couples examples: {loss:.4g} for the first {n_examples(batch)}, {twice:.4g} "
        f"for the same twice, {mean:.4g} as the mean of two halves; micro-batches then train "
        f"on another loss than the whole batch (if it is a mean over tokens or weights, `weight` "
        f"can say so)",
    ), doubling_changes_it or outside


def _halves(
    workload: Workload, model: nn.Module, device: torch.device
) -> list[tuple[float, float]]:
    """Weight and loss of the two halves of the first examples."""
    n = min(_EXAMPLES, size_of(workload.train))
    halves = []
    for chosen in (range(n // 2), range(n // 2, n)):
        if not chosen:
            continue
        half = on_device(_batch_of(workload, chosen), device)
        halves.append((weight_of(workload, half), _loss_of(workload, model, half)))
    return halves


def _check_metrics(workload: Workload, model: nn.Module, device: torch.device) -> None:
    batch = on_device(first_batch(workload, _EXAMPLES), device)
    with _evaluating(model), torch.no_grad():
        for name in workload.metrics:
            if is_over_all(workload, name):  # of so few examples it may not exist
                with _asking(workload, f"metric {name!r}"):
                    check_over_all(workload, name, model, device)
                continue
            metric = as_metric(workload, name)
            assert metric.count is not None
            with _asking(workload, f"metric {name!r}"):
                total, count = metric.sum(model, batch), float(metric.count(batch))
                if metric.finalise is None:
                    float(total) / count
                else:
                    float(metric.finalise(total, count))


def _check_sampler(workload: Workload) -> None:
    if workload.make_sampler is not None:
        with _asking(workload, "`make_sampler`"):
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
        with _evaluating(model), torch.no_grad():
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
