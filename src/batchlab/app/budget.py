"""Budget: a limit on the time of one whole call, and the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from batchlab.errors import BudgetError
from batchlab.store.store import Store

# This many seconds are reserved for reading the results of child processes that have ended.
RECORDING_S = 0.3


class Budget:
    """A limit on the time of one whole call, counted from the creation of this object."""

    def __init__(self, seconds: float, *, reserved_s: float = 0.0) -> None:
        """Start the clock; work must end `reserved_s` seconds before the limit."""
        self.started_s = time.monotonic()
        self.seconds = seconds  # The limit; infinity if there is none.
        # The seconds after which child processes must have ended.
        self.work_s = seconds - reserved_s - RECORDING_S

    def elapsed_s(self) -> float:
        """Return the seconds since this budget was created."""
        return time.monotonic() - self.started_s

    def time_limit_s(self, at_most_s: float = math.inf) -> float:
        """Return the seconds left for work, at least 0 and at most `at_most_s`."""
        return min(at_most_s, max(0.0, self.work_s - self.elapsed_s()))

    def refuse_if_out_of_time(self, doing: str) -> None:
        """Raise a BudgetError if no time is left for work; `doing` is the work in progress."""
        if self.time_limit_s() <= 0:
            raise self.ended(f"while {doing}, before any training")

    def ended(self, when: str) -> BudgetError:
        """Return the error for a budget that ended too early; `when` says at which point."""
        return BudgetError(f"budget {self.seconds:.3g} s: it ended {when}; give a larger --budget")


_LOOK_EVERY_S = 0.25


@contextmanager
def own_turn(store: Store, what: str, *, budget: Budget, while_waiting: str) -> Iterator[None]:
    """Wait until no other process claims the work `what`, then claim it for the `with` block."""
    while True:
        with store.claim(what) as is_ours:
            if is_ours:
                yield
                return
        budget.refuse_if_out_of_time(while_waiting)
        time.sleep(_LOOK_EVERY_S)
