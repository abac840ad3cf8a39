"""Selection of a few training examples, and calls of the user's functions with them."""

from __future__ import annotations

import copy
import gc
import random
import weakref
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import seed_everything
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.trial import Split
from batchlab.training.batching import sampled_order, with_tensors
from batchlab.training.evaluator import OVER_ALL, asking, is_over_all
from batchlab.workload.data import (
    examples_at,
    fetched,
    is_container,
    is_stream,
    leaves,
    n_examples,
    opened,
)
from batchlab.workload.definition import SPLITS, Batch, Workload, size_of
from batchlab.workload.identity import value_digest

_SEED = 0
T = TypeVar("T")


def succeeds(function: Callable[[], object]) -> bool:
    """Seed all generators and return whether `function` succeeds; re-raise out-of-memory errors."""
    seed_everything(_SEED)
    try:
        function()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False
    return True


def explained(
    model: nn.Module, function: Callable[[], T], *remedies: tuple[str, Callable[[], object]]
) -> T:
    """Call `function`; if it raises a WorkloadError, suggest a remedy in the error's message.

    A remedy is a text for the message, and a test that succeeds if the remedy helps. The first
    remedy that helps is suggested. The last one tried is to call `function` in training mode.

    Raises:
        WorkloadError: `function` raised a WorkloadError.
    """

    def in_training_mode() -> None:
        model.train()
        function()

    try:
        return function()
    except WorkloadError as error:
        for text, attempt in (*remedies, (_RUNS_IN_TRAINING, in_training_mode)):
            if succeeds(attempt):  # suggest only a remedy that was tried and helped
                raise WorkloadError(str(error).removesuffix(OVER_ALL) + text) from error
        raise


_RUNS_IN_TRAINING = (
    ": in evaluation mode (model.eval()); in training mode it runs. Let it accept what the model "
    "returns in evaluation mode, or switch the model to training mode (model.train()) and back"
)


def new_model(workload: Workload) -> nn.Module:
    """Make a model twice; refuse a `model` function that returns the same object both times.

    Raises:
        WorkloadError: the objects are identical or not modules, or `model` raised an exception.
    """
    with asking(workload, "`model`"):
        model: nn.Module = workload.model()
        if not isinstance(model, nn.Module):
            raise WorkloadError(
                f"workload {workload.name!r}: `model` returned a {type(model).__name__}; expected "
                f"an nn.Module"
            )
        first_model = weakref.ref(model)
        del model  # memory may not suffice for a second model
        if first_model() is not None:
            gc.collect()  # also frees a model that is part of a reference cycle
        seed_everything(_SEED)
        model = workload.model()
    if model is first_model():
        raise WorkloadError(
            f"workload {workload.name!r}: `model` returns the same object each time, so every run "
            f"would go on with what the run before has trained: make a new one in it, as in "
            f"model=lambda: Net(). A file that trains when it is imported has its training under "
            f'if __name__ == "__main__"'
        )
    return model


# ---- which examples


def places(workload: Workload, n: int) -> list[int]:
    """Return the indices of `n` training examples that resemble a batch of a training.

    One random example comes from each of `n` equal parts of the data, because the first examples
    may all have one class, and evenly spaced examples may match a pattern of the data. From a
    stream or the workload's own sampler, the first `n` examples are taken.
    """
    n_train = size_of(workload.train)
    if is_stream(workload.train):
        return list(range(n))
    if workload.make_sampler is not None:
        size = min(workload.batch_size, n_train)
        plan = BatchPlan(n_train=n_train, batch_size=size, drop_last=False)
        with asking(workload, "`make_sampler`"):
            return sampled_order(workload, plan, seed=_SEED)[:n].tolist()
    draws = random.Random(_SEED)
    ends = [index * n_train // n for index in range(n + 1)]
    return [draws.randrange(start, end) for start, end in pairwise(ends)]


def batch_from(workload: Workload, chosen: Sequence[int], *, split: Split = "train") -> Batch:
    """Return the examples of a split at the indices `chosen` as a batch.

    Raises:
        WorkloadError: fetching or collating the examples failed.
    """
    with _fetching(workload, split):
        return fetched(getattr(workload, split), torch.tensor(chosen), workload.collate)


def _fetching(workload: Workload, split: str) -> AbstractContextManager[None]:
    return asking(workload, f"fetching and collating examples of {split}")


# ---- many batches of the same few examples


def batches_of_few(
    workload: Workload, chosen: Sequence[int], accepts: Callable[[Batch], object]
) -> tuple[Callable[[Sequence[int]], Batch], bool]:
    """Return a function (positions in `chosen`) -> batch, and whether that function is random.

    Each example is fetched only once, because a random data set would return different examples. If
    `collate` is random (masks, negative samples), all examples are collated once, and every batch
    consists of rows of this whole batch. But a target may contain row numbers of the whole batch,
    which are wrong in a part of it. So if `accepts` fails on half of the rows, every batch is
    collated separately, and the function is random.

    Raises:
        WorkloadError: fetching or collating the examples failed.
    """
    data, collate = opened(workload.train, workload.collate)
    order = torch.tensor(chosen)
    if not isinstance(data, tuple):  # fetch and store the examples, as a data set may be random
        with _fetching(workload, "train"):
            data = examples_at(data, list(chosen))
        order = torch.arange(len(chosen))

    def batch(positions: Sequence[int]) -> Batch:
        with _fetching(workload, "train"):
            return fetched(data, order[list(positions)], collate)

    def drawn_by(seed: int) -> Batch:
        seed_everything(seed)
        return batch(range(len(chosen)))

    drawn = drawn_by(0)
    if collate is None or value_digest(drawn) == value_digest(drawn_by(1)):
        return batch, False
    half = range(len(chosen) // 2, len(chosen))
    if _has_rows(drawn, len(chosen)) and succeeds(lambda: accepts(_rows(drawn, half))):
        return lambda positions: _rows(drawn, positions), False
    return batch, True


def _has_rows(batch: Batch, n: int) -> bool:
    """Return whether all leaves of a batch are tensors with `n` rows, one for each example."""
    columns = leaves(dict(batch) if isinstance(batch, Mapping) else batch)
    return all(isinstance(column, Tensor) and column.shape[:1] == (n,) for _, column in columns)


def _rows(batch: Batch, positions: Sequence[int]) -> Batch:
    """Return the rows of a batch at `positions`; the class of a custom mapping is preserved."""
    if isinstance(batch, MutableMapping) and not is_container(batch):
        rows = copy.copy(batch)
        rows.update({name: _rows(column, positions) for name, column in batch.items()})
        return rows
    return with_tensors(batch, lambda tensor: tensor[list(positions)])


# ---- whether batches are counted correctly


def check_batch_counts(workload: Workload) -> None:
    """Check that the counted sizes of batches of 2 and of 3 examples have the ratio 2 : 3.

    Without a `weight`, the size of a batch is the length of its first tensor. Two rows per example
    (two views of each) are accepted, because only ratios of sizes matter. The count is wrong if the
    first dimension is time, if sequences are joined, or if the batch contains a list of images.

    Raises:
        WorkloadError: the two sizes do not have the ratio 2 : 3.
    """
    by_length = []
    for name in workload.metric_names:
        count = getattr(workload.metrics.get(name), "count", None)
        if count is None and not is_over_all(workload, name):
            by_length.append(name)
    if workload.weight is not None or not by_length:
        return
    for split in SPLITS:
        data = getattr(workload, split)
        n = size_of(data)
        if n == 0 or isinstance(data, tuple):  # A tuple's tensors have one row per example.
            continue
        of_two = n_examples(batch_from(workload, [0, 1 % n], split=split))
        of_three = n_examples(batch_from(workload, [0, 1 % n, 2 % n], split=split))
        if of_two * 3 != of_three * 2:
            raise WorkloadError(
                f"workload {workload.name!r}: batches of 2 and 3 examples of {split} "
                f"count as {of_two} and {of_three}, by the length of their first tensor; "
                f"give `weight`, such as weight=lambda batch: len(batch[1]), or let `collate` put "
                f"a tensor with examples first"
            )
