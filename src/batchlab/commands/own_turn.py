"""own_turn: of processes that would do the same on one store, one does it at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from batchlab.commands.budget import Budget
from batchlab.store.store import Store

_LOOK_EVERY_S = 0.25


@contextmanager
def own_turn(store: Store, what: str, *, budget: Budget, while_waiting: str) -> Iterator[None]:
    """Wait until no other process has the claim, then hold it.

    Args:
        store: the store that they share.
        what: the name of the claim.
        budget: how long to wait at most.
        while_waiting: what the other is doing, for the message.

    Raises:
        BudgetError: the budget ended first.
    """
    while True:
        with store.claim(what) as is_ours:
            if is_ours:
                yield
                return
        budget.refuse_if_out_of_time(while_waiting)
        time.sleep(_LOOK_EVERY_S)
