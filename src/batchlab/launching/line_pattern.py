"""LinePattern: `--pattern`, a regular expression whose named groups are counters and values."""

from __future__ import annotations

import re

from batchlab.errors import UsageError
from batchlab.launching.counters import Counters
from batchlab.launching.plain_number import NumberStyle, count_of, number_of
from batchlab.launching.reading import Reading

_COUNTERS = ("step", "epoch", "samples")
_LONGEST_LINE = 4000


class LinePattern:
    """Reads lines by a user's pattern: groups `step`, `epoch`, `samples`, all others values."""

    def __init__(self, pattern: str) -> None:
        """A reader at the beginning of a run.

        Raises:
            UsageError: no regular expression, or one without a named group for a value.
        """
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"--pattern {pattern!r} is no regular expression: {error}; a working one is "
                rf"'step (?P<step>\d+) val_loss (?P<val_loss>\S+)'"
            ) from None
        self._names = [name for name in self._pattern.groupindex if name not in _COUNTERS]
        if not self._names:
            raise UsageError(
                f"--pattern {pattern!r} has no named group for a value; name the metric's, as in "
                rf"'val_loss (?P<val_loss>\S+)'"
            )
        self._counters = Counters()
        self._style = NumberStyle()

    def read(self, line: str, at_s: float) -> Reading | None:
        """The reading of this line; None: the pattern is not in it, or no number where it looks."""
        match = self._pattern.search(line[:_LONGEST_LINE])
        if match is None:
            return None
        groups = {name: text for name, text in match.groupdict().items() if text is not None}
        told = {name: groups[name] for name in self._names if name in groups}
        for text in told.values():
            self._style.see(text)
        numbers = {name: self._style.number_of(text) for name, text in told.items()}
        values = tuple((name, value) for name, (value, _) in numbers.items() if value is not None)
        position = self._counters.position(
            step=count_of(groups.get("step", "")),
            epoch=_epoch(groups.get("epoch", "")),
            samples=count_of(groups.get("samples", "")),
        )
        reading = Reading(
            at_s=at_s,
            shape="pattern",
            step=position.step,
            epoch=position.epoch,
            epoch_step=position.epoch_step,
            samples=position.samples,
            values=values,
            unsure=tuple(name for name, (_, is_sure) in numbers.items() if not is_sure),
        )
        return reading if values or reading.has_position else None


def _epoch(text: str) -> float | None:
    return count_of(text) if text.isdigit() else number_of(text)
