"""Shape: one way in which trainings print their progress; `LineReader` reads it line by line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from batchlab.launching.reading import Reading


class LineReader(Protocol):
    """Reads the lines of one run, in order; it may remember what came before."""

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        """The readings that this line completes; None: the line is of no such shape."""

    def finish(self) -> list[Reading]:
        """The readings that waited for a line to come after them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A row; each is a file in `batchlab.launching.shapes`.

    Attributes:
        place: where it stands: a line belongs to the first shape that takes it.
        label: what people are told it is.
        needles: a line without any of these, in lower case, is never given to the reader.
        likely: what else a line has to hold, in lower case; None: the needle is enough.
        counts: what its `Reading.step` counts: optimizer updates, or batches (micro-batches where
            gradients are accumulated).
        reader: a new reader, for one run.
    """

    place: int
    label: str
    needles: tuple[bytes, ...]
    counts: Literal["updates", "batches"]
    reader: Callable[[], LineReader]
    likely: re.Pattern[str] | None = None
