"""huggingface: the dict lines of a Trainer, `{'loss': 0.5, 'epoch': 0.3}`, and the bar's steps."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from batchlab.launching.plain_number import number_of
from batchlab.launching.progress_bar import bar_of
from batchlab.launching.reading import Reading
from batchlab.launching.shape import Shape

_LONGEST = 4000
_DEEPEST = 50


class _Lines:
    """A dict line has no step: the bar, which is drawn again right below it, has.

    So a line waits for the bar of the training, the first one without words before it.
    """

    def __init__(self) -> None:
        self._total: int | None = None
        self._waiting: list[Reading] = []
        self._has_dicts = False

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        if line.startswith("{'"):
            return self._logged(line, at_s)
        bar = bar_of(line)
        if bar is None or bar.description:
            return None
        if self._total is None:
            self._total = bar.total
        if bar.total == self._total:
            done = [replace(reading, step=bar.n) for reading in self._waiting]
            self._waiting = []
            # Before the first dict line it may be any bar.
            return done if self._has_dicts else None
        return [] if self._has_dicts else None

    def finish(self) -> list[Reading]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _logged(self, line: str, at_s: float) -> list[Reading] | None:
        values = dict(_numbers(line))
        epoch = values.pop("epoch", None)
        if epoch is None or not values:
            return None
        self._has_dicts = True
        before = self.finish()
        reading = Reading(at_s=at_s, shape="huggingface", epoch=epoch, values=tuple(values.items()))
        if self._total is None:
            return [*before, reading]
        self._waiting = [reading]
        return before


def _numbers(line: str) -> list[tuple[str, float]]:
    """The numbers of a dict line; newer versions write them as texts."""
    if len(line) > _LONGEST or line.count("{") + line.count("[") + line.count("(") > _DEEPEST:
        return []
    try:
        # nan is a name in such a line, and names are no literals.
        found: Any = ast.literal_eval(line.replace(": nan", ": 'nan'").replace(": inf", ": 'inf'"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    if not isinstance(found, dict):
        return []
    numbers = ((name, _number(value)) for name, value in found.items() if isinstance(name, str))
    return [(name, number) for name, number in numbers if number is not None]


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return number_of(value)
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


SHAPE = Shape(
    place=3,
    label="dict lines of a Hugging Face Trainer",
    needles=(b"{'", b"%|"),
    counts="updates",
    reader=_Lines,
)
