"""Streams: data that are read in their own order, an IterableDataset with a stated length."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import IterableDataset

from batchlab.errors import UsageError, WorkloadError
from batchlab.random_state import RandomState, seed_everything, untouched_randomness
from batchlab.records.trial import Sampling
from batchlab.workload.definition import Workload
from batchlab.workload.source import told

# Each look at the stream puts the random streams aside, which costs as much as many examples.
_READ_AT_ONCE = 1000


def is_stream(data: object) -> bool:
    """Whether data can be read from the beginning only, and not be asked for an example."""
    if isinstance(data, IterableDataset):
        return True
    return hasattr(data, "__iter__") and not hasattr(data, "__getitem__")


def has_set_epoch(data: object) -> bool:
    """Whether a stream is told which epoch it is in."""
    return callable(getattr(data, "set_epoch", None))


class Reading:
    """One pass over a stream; it has random numbers of its own."""

    def __init__(self, data: Any, *, epoch: int, seed: int, what: str) -> None:
        """Begin; `set_epoch(epoch)` is called first where there is one."""
        self._what = what
        self._n = len(data)
        self._data = copy.copy(data)  # another pass may be in another epoch
        self._epoch, self._seed = epoch, seed
        self.begin()

    def begin(self) -> None:
        """Begin, or begin again with the very object that was read before."""
        self._taken = 0
        with untouched_randomness():
            seed_everything(self._seed)
            if has_set_epoch(self._data):
                self._data.set_epoch(self._epoch)
            self._examples: Iterator[Any] = iter(self._data)
            self._randomness = RandomState.now()

    def take(self, n: int) -> list[Any]:
        """The next `n` examples.

        Raises:
            WorkloadError: the stream ends before, or raises.
        """
        found = self._next(n)
        self._taken += len(found)
        if len(found) < n:
            raise WorkloadError(
                f"{self._what} ended after {self._taken:,} examples, and its length says "
                f"{self._n:,}; let __len__ return how many it gives"
            )
        return found

    def skip(self, n: int) -> None:
        """Read on over `n` examples."""
        while n > 0:
            n -= len(self.take(min(n, _READ_AT_ONCE)))

    def check_end(self) -> None:
        """Read what is left of the stated length, and see that there is no more.

        Raises:
            WorkloadError: there is.
        """
        self.skip(self._n - self._taken)
        if self._next(1):
            raise WorkloadError(
                f"{self._what} goes on after the {self._n:,} examples that its length says; let "
                f"__len__ return how many it gives, or let it stop there"
            )

    def _next(self, n: int) -> list[Any]:
        with untouched_randomness():
            self._randomness.restore()
            try:
                found = list(islice(self._examples, n))
            except Exception as error:
                raise WorkloadError(
                    f"{self._what}: reading on after {self._taken:,} examples raised {told(error)}"
                ) from error
            self._randomness = RandomState.now()
        return found


def examples_of(data: Any, chosen: list[int]) -> list[Any]:
    """Examples by their place in the first epoch; all before the last of them are read too."""
    reading, wanted = Reading(data, epoch=0, seed=0, what="train"), set(chosen)
    found: dict[int, Any] = {}
    n = max(chosen, default=-1) + 1
    for start in range(0, n, _READ_AT_ONCE):
        for place, example in enumerate(reading.take(min(_READ_AT_ONCE, n - start)), start):
            if place in wanted:
                found[place] = example
    return [found[place] for place in chosen]


def order_notes(workload: Workload) -> tuple[str, ...]:
    """What a reader must know of the order of its training examples.

    Raises:
        WorkloadError: what chooses the order cannot be used for its kind of data.
    """
    if is_stream(workload.train):
        for name in ("make_sampler", "workers"):
            if getattr(workload, name):
                raise WorkloadError(
                    f"workload {workload.name!r}: {name} is given and train is read in its own "
                    f"order, by the training itself; leave {name} out"
                )
        return ("its training examples come in the order that its own data set gives them",)
    if workload.make_sampler is not None:
        return ("its make_sampler chooses the examples of each epoch and their order",)
    return ()


def check_sampling(workload: Workload, sampling: Sampling) -> None:
    """Refuse a way of sampling where the workload chooses for itself.

    Raises:
        UsageError: another one than the default.
    """
    if sampling == "reshuffle" or not order_notes(workload):
        return
    raise UsageError(
        f"sampling {sampling}: workload {workload.name!r} chooses the order of its training "
        f"examples itself; leave sampling out"
    )
