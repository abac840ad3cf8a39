"""json-lines: a JSON object a line, with a counter and numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from batchlab.launching.counter_names import EPOCHS, SAMPLES, STEPS, first_of
from batchlab.launching.counters import Counters
from batchlab.launching.plain_number import count_of, number_of
from batchlab.launching.reading import Reading
from batchlab.launching.shape import Shape

_DEEPEST = 4


class _Lines:
    def __init__(self) -> None:
        self._counters = Counters()

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        found = _object(line)
        if found is None:
            return None
        numbers = dict(_numbers(found))
        step, epoch, samples = (first_of(numbers, names) for names in (STEPS, EPOCHS, SAMPLES))
        if step is None and epoch is None and samples is None:
            return None
        values = tuple(
            (name, float(value))
            for name, value in numbers.items()
            if name not in (*STEPS, *EPOCHS, *SAMPLES)
        )
        if not values:
            return []
        position = self._counters.position(step=_whole(step), epoch=epoch, samples=_whole(samples))
        return [
            Reading(
                at_s=at_s,
                shape="json-lines",
                step=position.step,
                epoch=position.epoch,
                epoch_step=position.epoch_step,
                samples=position.samples,
                values=values,
            )
        ]

    def finish(self) -> list[Reading]:
        return []


def _object(line: str) -> dict[str, Any] | None:
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _numbers(found: dict[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every number in it, those of objects inside under names such as `validation.loss`."""
    for name, value in found.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            yield from _numbers(value, f"{before}{name}.", depth + 1)
        else:
            number = _number(value)
            if number is not None:
                yield before + name, number


def _number(value: object) -> int | float | None:
    """A number, as it is or as a text; None: it is none, or too large for a float."""
    if isinstance(value, str):
        count = count_of(value) if value.isdigit() else None
        return number_of(value) if count is None else count
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or abs(value) < 1e300 else None


def _whole(number: float | None) -> int | None:
    if number is None or number != number or abs(number) > 1e18:
        return None
    return int(number)


SHAPE = Shape(
    place=2,
    label="JSON lines",
    needles=(b'{"', b"{ ", b"{\t"),
    counts="updates",
    reader=_Lines,
)
