"""A training's output as it arrives: cut into lines, kept at its beginning and end, read."""

from __future__ import annotations

import gzip
import logging
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from batchlab.script.formats import FORMATS, LinePattern
from batchlab.script.reading import LineReader, Reading

EACH_END_BYTES = 2 << 20
"""So much of the beginning and so much of the end are kept, before they are compressed."""
_LAST_BYTES = 1 << 16
_FLUSH_S = 1.0
_LINE_CHARACTERS = 400
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])")
_NOT_SHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_log = logging.getLogger(__name__)


class KeptOutput:
    """The first and last two mebibytes of an output in a gzip file, and its last lines.

    The beginning is on the disk at most a second after it was written, and the end when it is
    closed. A disk that is full costs the file, never the training.
    """

    def __init__(self, path: Path) -> None:
        """Begin an empty file."""
        self.path = path
        self.n_bytes = 0
        self._last = bytearray()
        self._end = bytearray()
        self._flushed_s = 0.0
        self._file: gzip.GzipFile | None = gzip.open(path, "wb", compresslevel=1)

    def write(self, piece: bytes) -> None:
        """Keep a piece, or what is to be kept of it."""
        room = max(0, EACH_END_BYTES - self.n_bytes)
        self.n_bytes += len(piece)
        if room:
            self._to_disk(piece[:room])
        self._end += piece[room:]
        if len(self._end) > 2 * EACH_END_BYTES:
            del self._end[:-EACH_END_BYTES]
        self._last += piece[-_LAST_BYTES:]
        if len(self._last) > 2 * _LAST_BYTES:
            del self._last[:-_LAST_BYTES]

    def close(self) -> None:
        """Write the end; says in its place how many bytes lie between the two."""
        n_left_out = max(0, self.n_bytes - 2 * EACH_END_BYTES)
        if n_left_out:
            self._to_disk(b"\n[batchlab left out %d bytes here]\n" % n_left_out)
        self._to_disk(bytes(self._end[-EACH_END_BYTES:]))
        self._end.clear()
        if self._file is not None:
            self._guarded(self._file.close)
            self._file = None

    def last_lines(self, n: int) -> tuple[str, ...]:
        """The last lines that hold something, as a terminal would show them, at most `n`.

        A line that was written over (a progress bar) counts once; colors and other control
        characters are left out, and a long line is cut.
        """
        shown = []
        for line in self._last.decode("utf-8", "replace").split("\n"):
            parts = [part for part in _ESCAPES.sub("", line).split("\r") if part.strip()]
            text = _NOT_SHOWN.sub("", parts[-1]).rstrip() if parts else ""
            if text:
                shown.append(
                    text if len(text) <= _LINE_CHARACTERS else text[: _LINE_CHARACTERS - 1] + "…"
                )
        return tuple(shown[-n:])

    def _to_disk(self, piece: bytes) -> None:
        file = self._file
        if file is None:
            return
        self._guarded(lambda: file.write(piece))
        now_s = time.monotonic()
        if self._file is not None and now_s >= self._flushed_s + _FLUSH_S:
            self._flushed_s = now_s
            self._guarded(file.flush)

    def _guarded(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self._file = None
            _log.warning("%s: the output is no longer kept (%s)", self.path, error.strerror)


LONGEST_LINE_BYTES = 64 * 1024
# Colors, cursor movements, window titles; a backspace takes back what bars draw over.
_CONTROLS = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]"
)


class LineCutter:
    """The lines of one stream; a carriage return ends a line like a new line does.

    What is longer than 64 KiB is cut there: the rest of such a line is left out.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._rest_at_s = 0.0

    def lines(self, data: bytes, at_s: float) -> list[tuple[bytes, float]]:
        """The lines that `data` completes, each with the time of its last byte."""
        first, *others = data.replace(b"\r", b"\n").split(b"\n")
        if not others:
            self._extend(first, at_s)
            return []
        begun = self._take()
        if first or not begun[0]:
            begun = (begun[0] + first[: LONGEST_LINE_BYTES - len(begun[0])], at_s)
        last = others.pop()
        cut = [(line[:LONGEST_LINE_BYTES], at_s) for line in others]
        self._extend(last, at_s)
        return [begun, *cut]

    def finish(self) -> list[tuple[bytes, float]]:
        """The last line, where no new line ended it."""
        line = self._take()
        return [line] if line[0] else []

    def _extend(self, more: bytes, at_s: float) -> None:
        if more:
            self._rest += more[: LONGEST_LINE_BYTES - len(self._rest)]
            self._rest_at_s = at_s

    def _take(self) -> tuple[bytes, float]:
        taken = self._rest, self._rest_at_s
        self._rest = b""
        return taken


def plain_text(line: bytes) -> str:
    """The line without colors, movements of the cursor and other controls, as text.

    What is no UTF-8 becomes the sign for it.
    """
    text = line.decode("utf-8", "replace")
    if not text.isprintable():
        text = _CONTROLS.sub(b"", line).decode("utf-8", "replace")
    return text.strip()


# Words and numbers of progress stand at the beginning of a line, and what searches for them is
# slower than what searches for the metric's name.
_LONGEST_SEARCHED = 500
_LONGEST_NAMED = 2000


class OutputReader:
    """Reads one run. It takes any bytes, in pieces of any length, in bounded memory."""

    def __init__(self, pattern: str | None = None, *, metric: str | None = None) -> None:
        """A reader at the beginning of a run.

        A pattern is tried first on each line; plain lines may call the metric by its own name.

        Raises:
            UsageError: a pattern that can't be used.
        """
        self._readers: list[LineReader] = [row() for row in FORMATS.values()]
        self._pattern = None if pattern is None else LinePattern(pattern)
        self._metric = None if metric is None else metric.lower()
        needles = {needle for reader in self._readers for needle in reader.needles}
        self._needles = (*needles, *(() if self._metric is None else (self._metric.encode(),)))
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
        lines = self._cutters.setdefault(stream, LineCutter()).lines(data, at_s)
        if not lines:
            return []
        # Most output is no progress, and passes fast: its pieces hold no needle at all.
        lower = data.lower()
        present = [each for each in self._needles if each in lower]
        # The first line may have begun before these bytes.
        readings = self._read_line(*lines[0], self._needles)
        if present or self._pattern is not None:
            for line, line_at_s in lines[1:]:
                readings += self._read_line(line, line_at_s, present)
        return readings

    def finish(self) -> list[Reading]:
        """The last readings of a run that has ended."""
        readings: list[Reading] = []
        for cutter in self._cutters.values():
            for line, at_s in cutter.finish():
                readings += self._read_line(line, at_s, self._needles)
        for reader in self._readers:
            readings += reader.finish()
        return readings

    def _read_line(self, line: bytes, at_s: float, needles: Sequence[bytes]) -> list[Reading]:
        lower = line.lower()
        present = [needle for needle in needles if needle in lower]
        if not present and self._pattern is None:
            return []
        text = plain_text(line)
        if self._pattern is not None and (found := self._pattern.read(text, at_s)) is not None:
            return found
        for reader in self._readers:
            if self._may_take(reader, present, text):
                found = reader.read(text, at_s)
                if found is not None:
                    return found
        return []

    def _may_take(self, reader: LineReader, present: list[bytes], text: str) -> bool:
        if reader.likely is None:
            return any(needle in reader.needles for needle in present)
        lower = text[:_LONGEST_NAMED].lower()
        if self._metric is not None and self._metric in lower:
            return True
        return reader.likely.search(lower, 0, _LONGEST_SEARCHED) is not None
