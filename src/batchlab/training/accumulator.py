"""Accumulator: the gradient of a whole batch, computed in micro-batches that fit into memory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import compress
from typing import Any

import torch
from torch import Tensor, distributed, nn

from batchlab.errors import BatchSizeError, UsageError
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import RandomState
from batchlab.training.optimizers import asks_for_closure
from batchlab.workload.data import n_examples

_log = logging.getLogger(__name__)

Loss = Callable[[nn.Module, Any], Tensor]
Weight = Callable[[Any], float | Tensor]

_UNSCALED = torch.amp.GradScaler(enabled=False)  # a disabled scaler changes no gradient


class Accumulator:
    """The gradient of a large batch, accumulated over micro-batches that fit into memory.

        accumulator = batchlab.Accumulator(model, loss, micro_batch_size=32)
        for batch in loader:
            value = accumulator.backward(batch)
            accumulator.step(optimizer)

    The gradient does not depend on the micro-batch size, because each micro-batch is weighted by
    its number of examples (or its `weight`). If memory runs out, buffers and random state are
    restored, the micro-batch size is halved, and the batch is computed again. Layers that normalize
    over the batch see only a micro-batch.

    Attributes:
        micro_batch_size: the largest number of examples per pass; halved when memory runs out.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        *,
        micro_batch_size: int,
        weight: Weight | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        """Store the model, its loss and the micro-batch size.

        Args:
            model: the model to train; a DistributedDataParallel averages gradients over the
                processes only in the last micro-batch of a step.
            loss: `loss(model, batch)` returns the mean over a batch, a tensor with one number.
            micro_batch_size: the largest number of examples in a forward and backward pass.
            weight: `weight(batch)` returns the number of units that the loss is a mean over
                (tokens that are not padding, say); None for the number of examples.
            scaler: scales the gradients of a training in float16; None for no scaling.

        Raises:
            BatchSizeError: a micro-batch size below 1.
        """
        if micro_batch_size < 1:
            raise BatchSizeError(f"micro_batch_size={micro_batch_size}: expected 1 or more")
        self.micro_batch_size = micro_batch_size
        self._model = model
        self._loss = loss
        self._weight = weight or n_examples
        self._scaler = scaler or _UNSCALED
        self._world_size = 1
        if distributed.is_available() and distributed.is_initialized():
            self._world_size = distributed.get_world_size()

    def backward(self, batch: Any) -> Tensor:
        """Replace the parameters' gradients by the gradient of the batch's mean loss.

        Args:
            batch: tensors with one row per example, in tuples, lists and mappings; a value with
                another number of rows is passed unchanged to every micro-batch.

        Returns:
            The mean loss over the batch of this process, detached.

        Raises:
            BatchlabError: the batch's weight is 0, or the batch has no tensor of examples to count.
            Exception: the loss raised an error; or memory ran out for a micro-batch of one example
                or, with several processes, for a micro-batch of any size.
        """
        buffers = list(self._model.buffers())
        buffers_before, random_before = list(map(torch.clone, buffers)), RandomState.now()
        while True:
            for parameter in self._model.parameters():
                parameter.grad = None
            try:
                return self._backward(batch)
            except Exception as error:
                # With several processes, do not try again: a second pass in one process would block
                # the processes that had enough memory.
                if not is_out_of_memory(error) or self._world_size > 1:
                    raise
                size = min(self.micro_batch_size, n_examples(batch))
                if size == 1:
                    raise
            # Retry outside `except`, because the error keeps tensors of the failed pass in memory.
            with torch.no_grad():
                for buffer, before in zip(buffers, buffers_before, strict=True):
                    buffer.copy_(before)
            random_before.restore()
            self.micro_batch_size = -(-size // 2)
            _log.warning(
                "out of memory with %d examples: micro-batches of %d from here on",
                size,
                self.micro_batch_size,
            )
            gc.collect()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take an optimizer step with the gradients that `backward` computed.

        Raises:
            UsageError: the optimizer needs the loss several times per step (LBFGS).
        """
        if asks_for_closure(optimizer):
            raise UsageError(
                f"{type(optimizer).__name__} asks for the loss several times a step, and the "
                f"accumulator's gradient is taken once; use its own closure with a batch that fits"
            )
        self._scaler.step(optimizer)
        self._scaler.update()

    def _backward(self, batch: Any) -> Tensor:
        micro_batches = list(cut(batch, self.micro_batch_size))
        weights = list(map(float, map(self._weight, micro_batches)))
        total = sum(weights)
        everywhere, n_empty = self._over_all(total, float(total == 0))
        if n_empty:  # raise in every process, or processes without this error would wait forever
            raise UsageError(
                "the weight of the whole batch, or of a process's share of it, is 0, so its loss "
                "has no mean; leave such examples out"
            )
        # Multiply each weight by the number of processes, because DistributedDataParallel divides
        # the sum of the processes' gradients by this number.
        loss = backward_of_parts(
            lambda micro_batch: self._loss(self._model, micro_batch),
            micro_batches,
            [weight * self._world_size / everywhere for weight in weights],
            waiting=getattr(self._model, "no_sync", nullcontext),
            scaled=self._scaler.scale,
        )
        return loss * (everywhere / self._world_size / total)

    def _over_all(self, *numbers: float) -> Sequence[float]:
        """Return each number summed over all processes."""
        if self._world_size == 1:
            return numbers
        device = next(self._model.parameters()).device
        summed = torch.tensor(numbers, dtype=torch.float64, device=device)
        distributed.all_reduce(summed)
        return summed.tolist()


def backward_of_parts(
    loss: Callable[[Any], Tensor],
    parts: Sequence[Any],
    shares: Sequence[float],
    *,
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    scaled: Callable[[Tensor], Tensor] = _UNSCALED.scale,
) -> Tensor:
    """Compute the gradient of a batch's loss, one part after another; return the loss.

    The loss is the sum of the parts' mean losses, each multiplied by its share. The gradient is
    added to the `.grad` of the parameters. Parts with share 0 are left out, because a mean over no
    units (only padding) is NaN. All passes except the last run in the context `waiting`, such as
    `no_sync` of a distributed model.
    """
    counting = list(compress(zip(parts, shares, strict=True), shares))
    losses = []
    for number, (part, share) in enumerate(counting, start=1):
        context = waiting
        if number == len(counting):
            context = nullcontext
        with context():
            value = loss(part)
            if share != 1.0:  # leave out a product with 1, which would slow a small step
                value = value * share
            scaled(value).backward()
            losses.append(value.detach())
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def cut(batch: Any, most: int) -> Iterator[Any]:
    """Yield micro-batches of at most `most` examples, each with the structure of the batch."""
    n = n_examples(batch)
    if n <= most:
        yield batch
        return
    for begin in range(0, n, most):
        yield _piece(batch, slice(begin, begin + most), n)


def _piece(value: Any, place: slice, n: int) -> Any:
    if isinstance(value, Mapping):
        return {key: _piece(entry, place, n) for key, entry in value.items()}
    if not isinstance(value, (Tensor, tuple, list)) or getattr(value, "ndim", 1) == 0:
        return value
    # A list of plain values (texts or ids) has one item per example, so cut the list itself.
    if isinstance(value, Tensor) or not any(map(_may_be_cut, value)):
        return value[place] if len(value) == n else value
    pieces = [_piece(item, place, n) for item in value]
    return type(value)(*pieces) if hasattr(value, "_fields") else type(value)(pieces)


def _may_be_cut(value: Any) -> bool:
    return isinstance(value, (Tensor, Mapping, tuple, list))
