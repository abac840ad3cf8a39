"""RunsAsked: the training runs that an advice waits for, and why it asked for them."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.reason import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsAsked:
    """The training runs that an advice waits for.

    Attributes:
        batch_sizes: of the runs, ascending.
        learning_rates: of the runs, ascending; of several batch sizes each has its own.
        seeds: of the runs, ascending.
        why: why they were asked for.
    """

    batch_sizes: tuple[int, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    why: Reason
