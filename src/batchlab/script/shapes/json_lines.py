"""json-lines: a JSON object a line, or a dict of Python, with a counter and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from batchlab.script.reading import (
    EPOCHS,
    SAMPLES,
    STEPS,
    Counters,
    Reading,
    Shape,
    dict_in,
    number_in,
)

_DEEPEST = 4


class _Lines:
    def __init__(self) -> None:
        self._counters = Counters()

    def read(self, line: str, at_s: float) -> list[Reading] | None:
        found = dict_in(line)
        if found is None:
            return None
        numbers = dict(_numbers(found))
        step, samples = _count(numbers, STEPS), _count(numbers, SAMPLES)
        epoch = next((numbers[name] for name in EPOCHS if name in numbers), None)
        if step is None and epoch is None and samples is None:
            return None
        values = tuple(
            (name, float(value))
            for name, value in numbers.items()
            if name not in (*STEPS, *EPOCHS, *SAMPLES)
        )
        if not values:
            return [] if line.startswith("{") else None
        position = self._counters.position(step=step, epoch=epoch, samples=samples)
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


def _numbers(found: dict[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every number in it, those of objects inside under names such as `validation.loss`."""
    for name, value in found.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            yield from _numbers(value, f"{before}{name}.", depth + 1)
        else:
            number = number_in(value)
            if number is not None:
                yield before + name, number


def _count(numbers: dict[str, float], names: tuple[str, ...]) -> int | None:
    """The first of these that is whole: fairseq's `update` is the epoch as a fraction."""
    whole = (numbers[name] for name in names if name in numbers and numbers[name] % 1 == 0)
    return next((int(number) for number in whole if 0 <= number < 1e18), None)


SHAPE = Shape(
    place=3,
    label="JSON lines, or dicts that Python prints",
    needles=(b'{"', b"{ ", b"{\t", b"{'"),
    counts="updates",
    reader=_Lines,
)
