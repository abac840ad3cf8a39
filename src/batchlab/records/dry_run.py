"""DryRun: the memory that steps of one batch size asked for, none of them computed."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.reason import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """The memory that steps of one batch size asked for, none of them computed.

    Attributes:
        batch_size: examples per step, in one piece.
        heap_bytes: the most that its process's heap held above what it held before the model was
            made; None where that is not known.
        reason: why not; None where it is.
    """

    batch_size: int
    heap_bytes: int | None = None
    reason: Reason | None = None
