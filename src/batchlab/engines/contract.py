"""Engine, Ask: what the advice asks for its trials; it knows nothing of torch or of workloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from batchlab.records.trial import RunLength, Trial, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One training run that the advice asks for: which trial, and how far.

    Attributes:
        trial: what to train.
        length: how far; always limited in steps.
    """

    trial: Trial
    length: RunLength


class Engine(Protocol):
    """Who answers the advice with training runs: a machine, or a recorded grid.

    A trial asked for again with a longer run goes on from where it ended: only what is new costs.
    A run that the engine ended before its length, for want of time, comes back with the status
    TIMEOUT and what was seen until then.
    """

    @property
    def n_workers(self) -> int:
        """How many runs it does at a time: asking for fewer wastes it."""
        ...

    @property
    def n_seeds(self) -> int | None:
        """How many seeds it has (0 to n_seeds - 1); None: as many as are asked for."""
        ...

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """The rates it has at `batch_size`, ascending; None: any."""
        ...

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The trial of these three, everything else as the question has it."""
        ...

    def expected_s(self, batch_size: int, steps: int, *, watched_from_samples: int = 0) -> float:
        """About how many seconds of the budget so many new steps of one run cost.

        Before `watched_from_samples` it need not be evaluated often.
        """
        ...

    def run(self, asks: Sequence[Ask]) -> Sequence[TrialRecord]:
        """Run all of them and return their whole records, in the order of the asks."""
        ...

    def spent_s(self) -> float:
        """Seconds of the budget spent so far."""
        ...
