"""OutputReader: a training's output as it arrives, and the readings in it."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.launching.line_cutter import LineCutter, plain_text
from batchlab.launching.line_pattern import LinePattern
from batchlab.launching.reading import Reading
from batchlab.launching.shape import Shape
from batchlab.launching.shape_rows import chosen_shapes, shape_rows

# Words and numbers of progress stand at the beginning of a line, and what searches for them is
# slower than what searches for the metric's name.
_LONGEST_SEARCHED = 500
_LONGEST_NAMED = 2000


class OutputReader:
    """Reads one run. It takes any bytes, in pieces of any length, in bounded memory."""

    def __init__(
        self,
        shapes: Sequence[str] | None = None,
        pattern: str | None = None,
        *,
        metric: str | None = None,
    ) -> None:
        """A reader at the beginning of a run.

        Args:
            shapes: names of the shapes to recognize, of `shape_rows`; None: all.
            pattern: a regular expression with named groups that is tried first on each line.
            metric: the metric asked for, which plain lines may call by a name of its own.

        Raises:
            UsageError: an unknown shape, or a pattern that can't be used.
        """
        rows = shape_rows() if shapes is None else chosen_shapes(shapes)
        self._pattern = None if pattern is None else LinePattern(pattern)
        self._metric = None if metric is None else metric.lower()
        self._readers = [(row, row.reader()) for row in rows.values()]
        metric_needle = () if metric is None else (metric.lower().encode(),)
        needles = {needle for row in rows.values() for needle in row.needles}
        self._needles = (*needles, *metric_needle)
        self._cutters: dict[str, LineCutter] = {}

    def feed(self, data: bytes, at_s: float, *, stream: str = "output") -> list[Reading]:
        """The readings that `data` completes.

        Args:
            data: what came next.
            at_s: when it came, by `time.monotonic`.
            stream: where it came from; the lines of two streams do not run into one another.
                One pipe for stdout and stderr is better, for it keeps their order: a Trainer's
                line goes to the one, the bar with its step to the other.
        """
        cutter = self._cutters.setdefault(stream, LineCutter())
        return self._read(cutter.lines(data, at_s), data)

    def finish(self) -> list[Reading]:
        """The last readings of a run that has ended."""
        readings: list[Reading] = []
        for cutter in self._cutters.values():
            readings += self._read(cutter.finish())
        for _, reader in self._readers:
            readings += reader.finish()
        return readings

    def _read(self, lines: list[tuple[bytes, float]], data: bytes | None = None) -> list[Reading]:
        if not lines:
            return []
        # Most output is no progress, and passes fast: its pieces hold no needle at all.
        lower = b"" if data is None else data.lower()
        present = (
            self._needles if data is None else [each for each in self._needles if each in lower]
        )
        # The first line may have begun before these bytes.
        readings = self._read_line(*lines[0], self._needles)
        if present or self._pattern is not None:
            for line, at_s in lines[1:]:
                readings += self._read_line(line, at_s, present)
        return readings

    def _read_line(self, line: bytes, at_s: float, needles: Sequence[bytes]) -> list[Reading]:
        lower = line.lower()
        present = [needle for needle in needles if needle in lower]
        if not present and self._pattern is None:
            return []
        text = plain_text(line)
        if self._pattern is not None and (reading := self._pattern.read(text, at_s)) is not None:
            return [reading]
        for row, reader in self._readers:
            if self._may_take(row, present, text):
                found = reader.read(text, at_s)
                if found is not None:
                    return found
        return []

    def _may_take(self, row: Shape, present: list[bytes], text: str) -> bool:
        if row.likely is None:
            return any(needle in row.needles for needle in present)
        lower = text[:_LONGEST_NAMED].lower()
        if self._metric is not None and self._metric in lower:
            return True
        return row.likely.search(lower, 0, _LONGEST_SEARCHED) is not None
