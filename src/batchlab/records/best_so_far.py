"""BestSoFar: what leads while a study is under way, by the runs that it has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BestSoFar:
    """What leads while a study is under way.

    Attributes:
        batch_size: examples per step.
        learning_rate: its rate.
        quantity: the name of the figure by which it leads.
        value: that figure, the mean over its seeds, in the unit of the quantity.
    """

    batch_size: int
    learning_rate: float
    quantity: str
    value: float
