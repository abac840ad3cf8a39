"""KeptOutput: what a command wrote, compressed, its beginning and its end if it was much."""

from __future__ import annotations

import gzip
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

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
        """Begin an empty file.

        Args:
            path: what to write; its folder is there.
        """
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
