"""MemoryPeak: the most memory that all processes of a command held at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Counted = Literal["pss", "rss", "largest_process"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPeak:
    """The most memory that the processes of a command held.

    Attributes:
        bytes: of main memory.
        counted: how. "pss": pages that several processes share count once. "rss": they count once
            in each, so it is too much rather than too little. "largest_process": the peak of one
            process alone, exact, where there was no other.
        gpu_bytes: the most on each GPU at once, by its name; empty where none is known.
        is_gpu_full: whether a GPU was nearly full at one time.
        n_samples: how often was looked.
    """

    bytes: int
    counted: Counted
    gpu_bytes: tuple[tuple[str, int], ...] = ()
    is_gpu_full: bool = False
    n_samples: int
