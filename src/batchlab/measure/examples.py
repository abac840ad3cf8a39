"""A few training examples, and calls of a user's own functions with them."""

from __future__ import annotations

import copy
import gc
import random
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.training.batching import is_group, with_tensors
from batchlab.training.evaluator import asking, is_over_all
from batchlab.workload.data import (
    ChosenPart,
    Collate,
    Columns,
    examples_at,
    fetched,
    is_container,
    is_stream,
    leaves,
    n_examples,
    opened,
)
from batchlab.workload.definition import SPLITS, Batch, Data, Workload, size_of
from batchlab.workload.identity import value_digest


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, without dropout, and then back into training mode."""
    model.eval()
    try:
        yield
    finally:
        model.train()


IN_TRAINING_ALONE = (
    "in evaluation mode (model.eval()), for in training mode it runs. Let it take what the model "
    "gives in evaluation mode, or put the model into training mode (model.train()) and back"
)


def new_model(workload: Workload) -> nn.Module:
    """Make a model; refuse one object again and again, trained by the run before.

    Raises:
        WorkloadError: it is the same, or is no module, or making it raised an exception.
    """
    with asking(workload, "`model`"):
        model: nn.Module = workload.model()
        if not isinstance(model, nn.Module):
            raise WorkloadError(
                f"workload {workload.name!r}: `model` returned a {type(model).__name__}; expected "
                f"an nn.Module"
            )
        kept = weakref.ref(model)
        del model  # there may be no memory for a second one
        gc.collect()
        seed_everything(_SEED)
        model = workload.model()
    if model is kept():
        raise WorkloadError(
            f"workload {workload.name!r}: `model` returns the same object each time, so every run "
            f"would go on with what the run before has trained: make a new one in it, as in "
            f"model=lambda: Net(). A file that trains when it is imported has its training under "
            f'if __name__ == "__main__"'
        )
    return model


_SEED = 0


def succeeds(function: Callable[[], object]) -> bool:
    """Return whether it runs, from fresh random streams; raise if memory runs out."""
    seed_everything(_SEED)
    try:
        function()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False
    return True


class FewExamples:
    """A few training examples that are fetched once, and made into batches in any order.

    They are fetched once because a data set that draws at random gives others each time. If
    `collate` draws (masks, negative samples), their batch is made once too, and cut.

    Attributes:
        draws: whether each batch is drawn anew, because it cannot be cut into its examples.
    """

    def __init__(self, workload: Workload, chosen: list[int]) -> None:
        """Fetch the examples at the places `chosen`.

        Raises:
            WorkloadError: fetching them failed.
        """
        self._workload = workload
        self._data, self._collate = opened(workload.train, workload.collate)
        self._chosen = chosen
        if _are_single(self._data, self._collate):
            with _fetching(workload, "train"):
                self._data = examples_at(self._data, chosen)
            self._chosen = list(range(len(chosen)))
        self._drawn: Batch | None = None
        self.draws = self._collate is not None and self._collate_draws()
        if self.draws and all(map(self._has_rows, {-(-len(chosen) // 2), len(chosen)})):
            self._drawn, self.draws = self.batch(range(len(chosen))), False

    def draw_anew(self) -> None:
        """Make each batch by itself, because pieces of the one that was drawn make no batches."""
        if self._drawn is not None:
            self._drawn, self.draws = None, True

    def _collate_draws(self) -> bool:
        """Return whether two batches of the same examples differ."""
        digests = set()
        for seed in range(2):
            seed_everything(seed)
            digests.add(value_digest(self.batch(range(len(self._chosen)))))
        return len(digests) > 1

    def _has_rows(self, n: int) -> bool:
        """Return whether a batch of `n` examples is made of tensors of `n` rows."""
        batch = self.batch(range(n))
        parts = [part for _, part in leaves(dict(batch) if isinstance(batch, Mapping) else batch)]
        return all(isinstance(part, Tensor) and part.shape[:1] == (n,) for part in parts)

    def batch(self, order: Sequence[int]) -> Batch:
        """Return the chosen examples at these positions as one batch.

        Raises:
            WorkloadError: collating them failed.
        """
        if self._drawn is not None:
            return _rows(self._drawn, list(order))
        with _fetching(self._workload, "train"):
            chosen = torch.tensor([self._chosen[position] for position in order])
            return fetched(self._data, chosen, self._collate)


def _rows(batch: Batch, order: list[int]) -> Batch:
    """Return rows of a batch; a mapping that moves itself to a device stays one of its class."""
    if isinstance(batch, MutableMapping) and not is_container(batch):
        part = copy.copy(batch)
        part.update({name: _rows(held, order) for name, held in batch.items()})
        return part
    return with_tensors(batch, lambda tensor: tensor[order])


def places(workload: Workload, n: int) -> list[int]:
    """Return the places of `n` training examples as a batch of a training would have them.

    Each of `n` equal parts of the data gives a random one, because the first examples of data that
    are sorted by class have one class, and evenly spaced ones may meet a pattern of the data. A
    stream gives its first examples, and the workload's own sampler those that it chooses first.
    """
    n_train = size_of(workload.train)
    if is_stream(workload.train):
        chosen = list(range(min(n, n_train)))
    elif workload.make_sampler is not None:
        chosen = _sampled(workload, n)
    else:
        chosen = _spread(n_train, min(n, n_train))
    return [chosen[position % len(chosen)] for position in range(n)]


def batch_from(workload: Workload, data: Data, chosen: Sequence[int], *, split: str) -> Batch:
    """Return the examples `chosen` of a split as a batch.

    Raises:
        WorkloadError: fetching or collating them failed.
    """
    with _fetching(workload, split):
        return fetched(data, torch.tensor(chosen), workload.collate)


def _fetching(workload: Workload, split: str) -> Any:
    return asking(workload, f"fetching and collating examples of {split}")


def _are_single(data: Data, collate: Collate | None) -> bool:
    """Return whether examples are fetched one by one, and not as rows of their columns."""
    if isinstance(data, tuple):
        return False
    while isinstance(data, ChosenPart):
        data = data.dataset
    return collate is not None or not isinstance(data, Columns)


def _spread(n_train: int, n: int) -> list[int]:
    draws = random.Random(_SEED)
    ends = [part * n_train // n for part in range(n + 1)]
    return [draws.randrange(start, end) for start, end in pairwise(ends)]


def _sampled(workload: Workload, n: int) -> list[int]:
    assert workload.make_sampler is not None
    with asking(workload, "`make_sampler`"), untouched_randomness():
        seed_everything(_SEED)
        size = min(workload.batch_size, size_of(workload.train))
        given = workload.make_sampler(size, _SEED)
        parts = (cast("Iterable[Any]", part) if is_group(part) else (part,) for part in given)
        return [int(index) for index in islice(chain.from_iterable(parts), n)]


def check_batch_counts(workload: Workload) -> None:
    """Compare the counted sizes of two small batches with the examples fetched for them.

    Without a `weight`, batches of unlike size count by the length of their first tensor. Twice the
    number of examples (two views of each) is fine, because weights are only compared. Sequences
    with time first, joined sequences or a list of images give a wrong count.

    Raises:
        WorkloadError: the counts do not grow with the examples.
    """
    if not _counts_by_tensor(workload):
        return
    for split in SPLITS:
        data = getattr(workload, split)
        n = size_of(data)
        if n == 0 or isinstance(data, tuple):  # a tuple has tensors with examples first
            continue
        counted = [
            n_examples(batch_from(workload, data, [at % n for at in range(size)], split=split))
            for size in (2, 3)
        ]
        if counted[0] * 3 != counted[1] * 2:
            raise WorkloadError(
                f"workload {workload.name!r}: batches of 2 and 3 examples of {split} "
                f"count as {counted[0]} and {counted[1]}, by the length of their first tensor; "
                f"give `weight`, such as weight=lambda batch: len(batch[1]), or let `collate` put "
                f"a tensor with examples first"
            )


def _counts_by_tensor(workload: Workload) -> bool:
    """Return whether anything is weighted by the length of a batch's first tensor."""
    return workload.weight is None and not all(
        is_over_all(workload, name)
        or getattr(workload.metrics.get(name), "count", None) is not None
        for name in workload.metric_names
    )
