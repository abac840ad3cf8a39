"""Process counts: in how many processes a profile times each batch size.

Processes differ by more than the stretches of one: where they lie in memory, which core they get.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from batchlab.profiling.profile_point import ProfilePoint, scatter_of

FEWEST_PROCESSES: Final = 2
"""Two show how far processes differ."""
MOST_PROCESSES: Final = 12
"""Beyond these, further ones narrow an interval by little."""
_NARROW = 0.05  # half an interval, of the logarithm


def are_enough_processes(points: Iterable[ProfilePoint], n: int) -> bool:
    """Whether `n` processes of each batch size make its step time as sure as a decision needs."""
    if n < FEWEST_PROCESSES:
        return False
    scatter = scatter_of(points)
    return n >= MOST_PROCESSES or scatter is None or scatter.half_width(n) <= _NARROW
