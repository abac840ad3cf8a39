"""batchlab: the lines of `batchlab.log`, which say everything themselves."""

from __future__ import annotations

import json
import math
from typing import Any

from batchlab.script.reading import Reading, Shape


class _Lines:
    def __init__(self) -> None:
        self._counted_an_epoch: float | None = None

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        if not line.startswith('{"batchlab_log"'):
            return None
        try:
            told = json.loads(line)
            return [self._reading(told)]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return []  # torn by a full disk: the next line is whole again

    def finish(self) -> list[Reading]:
        return []

    def _reading(self, told: dict[str, Any]) -> Reading:
        step, samples = told.get("step"), told.get("samples")
        return Reading(
            at_s=float(told["at_s"]),
            shape="batchlab",
            step=step,
            epoch=self._passes(told.get("epoch"), step if samples is None else samples),
            samples=samples,
            values=tuple((name, float(value)) for name, value in told["values"].items()),
            not_understood=tuple(told.get("not_understood", ())),
        )

    def _passes(self, epoch: float | None, counted: int | None) -> float | None:
        """Passes done.

        Many scripts have the number of the epoch under way at hand. Alone it has to be what the
        call asks for. Beside a finer counter it is not needed to tell the place, so a whole one
        counts only where the counter rises by the same in every epoch.
        """
        if epoch is None or counted is None or not float(epoch).is_integer():
            return epoch
        before, each = self._counted_an_epoch, counted / epoch if epoch else None
        self._counted_an_epoch = each
        is_even = before is not None and each is not None and math.isclose(before, each)
        return epoch if is_even else None


SHAPE = Shape(
    place=1,
    label="batchlab.log",
    needles=(b'{"batchlab_log"',),
    counts="updates",
    reader=_Lines,
)
