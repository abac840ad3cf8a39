"""keras: `Epoch 2/10`, then `12/120 ━━━ 1s 8ms/step - loss: 0.3 - val_loss: 0.2`."""

from __future__ import annotations

import re

from batchlab.script.bars import EpochBar
from batchlab.script.reading import NUMBER, Reading, Shape, number_of

_HEADER = re.compile(r"^Epoch (\d{1,9})/\d+$")
_STEPS = re.compile(r"^(?P<n>\d{1,12})/(?P<total>[1-9]\d{0,11})\s.{0,400}?s/step(?P<rest> - .+)$")
_VALUE = re.compile(rf" - (?P<name>[^:]{{1,200}}?): (?P<value>{NUMBER})(?= |$)")


class _Lines:
    def __init__(self) -> None:
        self._bar = EpochBar("keras")
        self._epoch: int | None = None
        self._total: int | None = None
        self._last = 0

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        if header := _HEADER.match(line):
            self._epoch, self._total, self._last = int(header[1]) - 1, None, 0
            return None  # others may number their epochs so, too
        match = _STEPS.match(line)
        if match is None or self._epoch is None:
            return None
        n, total = int(match["n"]), int(match["total"])
        if self._total is None:
            self._total = total
        # A bar that begins again without a new epoch is one of `evaluate` or `predict`.
        if total != self._total or n < self._last:
            self._total = 0
            return []
        self._last = n
        values = tuple(
            (found["name"], number)
            for found in _VALUE.finditer(match["rest"])
            if (number := number_of(found["value"])) is not None
        )
        return self._bar.show(epoch=self._epoch, n=n, total=total, at_s=at_s, values=values)

    def finish(self) -> list[Reading]:
        return self._bar.finish()


SHAPE = Shape(
    place=5,
    label="lines of Keras",
    needles=(b"epoch ", b"s/step"),
    counts="batches",
    reader=_Lines,
)
