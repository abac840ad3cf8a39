"""A few training examples, and a user's own functions asked about them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from typing import Any, cast

import torch
from torch import nn

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.processes.memory import is_out_of_memory
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.training.batching import is_group
from batchlab.workload.data import (
    ChosenPart,
    Collate,
    Columns,
    examples_at,
    fetched,
    is_stream,
    opened,
)
from batchlab.workload.definition import Batch, Data, Workload, size_of
from batchlab.workload.source import told


@contextmanager
def asking(workload: Workload, what: str) -> Iterator[None]:
    """Context: an exception of the user's function is told in one line, with its place.

    Raises:
        WorkloadError: naming `what` raised; memory that ran out is raised as it is.
    """
    try:
        yield
    except BatchlabError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise WorkloadError(f"workload {workload.name!r}: {what} raised {told(error)}") from error


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Context: the model in eval mode, without its dropout."""
    model.eval()
    try:
        yield
    finally:
        model.train()


_SEED = 0


def succeeds(function: Callable[[], object]) -> bool:
    """Whether it raises nothing, from fresh random streams; memory that runs out it raises."""
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

    A data set that draws at random would give others each time.
    """

    def __init__(self, workload: Workload, n: int) -> None:
        """Fetch `n` of them.

        Raises:
            WorkloadError: fetching them failed.
        """
        self._workload = workload
        chosen = places(workload, n)
        self._data, self._collate = opened(workload.train, workload.collate)
        self._chosen = chosen
        if _are_single(self._data, self._collate):
            with _fetching(workload, "train"):
                self._data = examples_at(self._data, chosen)
            self._chosen = list(range(n))

    def batch(self, order: Iterable[int]) -> Batch:
        """Those at these positions among them, as one batch.

        Raises:
            WorkloadError: collating them failed.
        """
        with _fetching(self._workload, "train"):
            chosen = torch.tensor([self._chosen[position] for position in order])
            return fetched(self._data, chosen, self._collate)


def places(workload: Workload, n: int) -> list[int]:
    """The places of `n` training examples as a batch of a training would have them.

    One lies in each of `n` equal parts of the data, at random there: the first ones of data that
    are sorted by class have one class, and evenly spaced ones may meet a pattern of the data. A
    stream gives its first ones, a sampler of the workload's own those that it chooses first.
    """
    n_train = size_of(workload.train)
    if is_stream(workload.train):
        chosen = list(range(min(n, n_train)))
    elif workload.make_sampler is not None:
        chosen = _sampled(workload, n)
    else:
        chosen = _spread(n_train, min(n, n_train))
    return [chosen[position % len(chosen)] for position in range(n)]


def around(workload: Workload, n: int) -> Batch:
    """`n` training examples as a batch, from the first one again after the last."""
    return batch_from(workload, workload.train, places(workload, n), split="train")


def batch_from(workload: Workload, data: Data, chosen: Sequence[int], *, split: str) -> Batch:
    """The examples `chosen` of a split as a batch.

    Raises:
        WorkloadError: fetching or collating them failed.
    """
    with _fetching(workload, split):
        return fetched(data, torch.tensor(chosen), workload.collate)


def _fetching(workload: Workload, split: str) -> Any:
    return asking(workload, f"fetching and collating examples of {split}")


def _are_single(data: Data, collate: Collate | None) -> bool:
    """Whether they are fetched one by one, and not as rows of their columns."""
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
