"""batchlab: the lines of `batchlab.log`, which say everything themselves."""

from __future__ import annotations

import json
import math
from typing import Any

from batchlab.launching.counters import Counters
from batchlab.launching.reading import Reading
from batchlab.launching.shape import Shape


class _Lines:
    def __init__(self) -> None:
        self._counters = Counters()

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
        epoch = told.get("epoch")
        position = self._counters.position(
            step=told.get("step"), epoch=_number_or_fraction(epoch), samples=told.get("samples")
        )
        return Reading(
            at_s=float(told["at_s"]),
            shape="batchlab",
            step=position.step,
            epoch=position.epoch,
            epoch_step=position.epoch_step,
            samples=position.samples,
            values=tuple((name, float(value)) for name, value in told["values"].items()),
            not_understood=tuple(told.get("not_understood", ())),
        )


def _number_or_fraction(epoch: float | None) -> float | None:
    """A whole number as an int: the number of an epoch."""
    return int(epoch) if epoch is not None and math.floor(epoch) == epoch else epoch


SHAPE = Shape(
    place=1,
    label="batchlab.log",
    needles=(b'{"batchlab_log"',),
    counts="updates",
    reader=_Lines,
)
