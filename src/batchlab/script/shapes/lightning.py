"""lightning: bars with the number of their epoch, as Lightning draws them with tqdm or rich."""

from __future__ import annotations

import re

from batchlab.script.bars import EpochBar, Values, bar_of
from batchlab.script.reading import NUMBER, Reading, Shape, number_of

_EPOCH = re.compile(r"^epoch[\s:\[]*(\d+)(?:\s*/\s*\d+)?\]?$", re.IGNORECASE)
# Epoch 2/2  ━━━━━━━━━━ 12/12 0:00:00 • 0:00:00 35.52it/s v_num: 0 train_loss: 0.002
_RICH = re.compile(
    r"^Epoch (?P<epoch>\d+)/(?P<last>\d+)\s+[━╸╺ ]+(?P<n>\d+)/(?P<total>[1-9]\d*)\s+"
    r"\S+\s+•\s+\S+\s+\S+it/s(?P<rest>.*)$"
)
_LONGEST = 1000
# Lightning draws these before its epochs, which it numbers from 0; others may begin with 1.
_ITS_OWN = ("Sanity Checking", "Training: |")
_NAMED = re.compile(rf"(?P<name>[^\s:=]+)[:=]\s*(?P<value>{NUMBER})(?=\s|$)")
_MORE = re.compile(rf"^[^\s:=]+[:=]\s*{NUMBER}(?:\s+[^\s:=]+[:=]\s*{NUMBER})*$")


class _Lines:
    def __init__(self) -> None:
        self._bar = EpochBar("lightning")
        self._first_epoch: int | None = None
        self._rich: dict[str, int] | None = None

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        line = line[:_LONGEST]
        if line.startswith(_ITS_OWN):
            self._first_epoch = 0
        if match := _RICH.match(line):
            self._first_epoch = 0
            counts = {name: int(match[name]) for name in ("epoch", "n", "total")}
            return self._show_rich(counts, _values(match["rest"]), at_s)
        # A bar of rich that is wider than the screen puts its values on the lines below.
        if self._rich is not None and _MORE.match(line):
            return self._show_rich(self._rich, _values(line), at_s)
        bar = bar_of(line)
        epoch = None if bar is None else _EPOCH.match(bar.description)
        if bar is None or epoch is None:
            return None
        return self._show(int(epoch[1]), bar.n, bar.total, at_s, bar.values)

    def finish(self) -> list[Reading]:
        return self._bar.finish()

    def _show_rich(self, counts: dict[str, int], values: Values, at_s: float) -> list[Reading]:
        self._rich = counts
        return self._show(counts["epoch"], counts["n"], counts["total"], at_s, values)

    def _show(self, epoch: int, n: int, total: int, at_s: float, values: Values) -> list[Reading]:
        if self._first_epoch is None:
            self._first_epoch = min(epoch, 1)
        number = epoch - self._first_epoch
        return self._bar.show(epoch=number, n=n, total=total, at_s=at_s, values=values)


def _values(text: str) -> Values:
    found = ((match["name"], number_of(match["value"])) for match in _NAMED.finditer(text))
    return tuple((name, value) for name, value in found if value is not None)


SHAPE = Shape(
    place=4,
    label="a bar of Lightning",
    needles=(b"epoch", b"loss", b"acc", b"val", b"train"),
    counts="batches",
    reader=_Lines,
)
