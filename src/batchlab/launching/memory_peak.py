"""MemoryPeak: the most memory that all processes of a command held at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Counted = Literal["pss", "rss", "largest_process"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPeak:
    """The most memory that the processes of a command held; pages of mapped files count too.

    Attributes:
        bytes: of main memory.
        counted: how. "pss": pages that several processes share count once. "rss": they count once
            in each, so it is too much rather than too little. "largest_process": the peak of one
            process alone by the kernel's own mark, where no look saw more.
        gpu_bytes: the most on each GPU, by its name; empty where none is known.
        is_gpu_full: whether a GPU that it used was nearly full at one time.
        n_looks: how often was looked.
    """

    bytes: int
    counted: Counted
    gpu_bytes: tuple[tuple[str, int], ...] = ()
    is_gpu_full: bool = False
    n_looks: int = 0

    @property
    def most_gpu_bytes(self) -> int | None:
        """The most on any one GPU; None: none was used, or it is not known."""
        return max((n_bytes for _, n_bytes in self.gpu_bytes), default=None)
