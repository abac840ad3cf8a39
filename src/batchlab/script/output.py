"""The output of a training: split into lines, read for progress, stored up to a limit."""

from __future__ import annotations

import ctypes
import gzip
import logging
import os
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from batchlab.script.formats import FORMATS, JsonLines, LinePattern, Table
from batchlab.script.reading import LineReader, Reading, is_of_machine, split_of

_KEPT_BYTES = 4 << 20  # Keep this many bytes from the start of a command's output.
# If the output is longer than `_KEPT_BYTES`, keep this many bytes from its end as well.
_LAST_BYTES = 1 << 16
_SHOWN_CHARACTERS = 400  # Lines with more characters are cut for display.
_LONGEST_LINE_BYTES = 64 * 1024  # Read only this many bytes of a line.
# Control characters that are removed: colors, cursor movements, window titles, and others such as
# the backspaces with which progress bars are redrawn.
_CONTROLS = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)

_log = logging.getLogger(__name__)


def plain_text(line: bytes) -> str:
    """Return a line as text without control characters; invalid UTF-8 becomes U+FFFD."""
    text = line.decode("utf-8", "replace")
    if not text.isprintable():
        text = _CONTROLS.sub("", text)
    return text.strip()


def last_lines(output: BinaryIO, n: int) -> tuple[str, ...]:
    """Return the last lines that have content, at most `n`, as a terminal would show them.

    An overwritten line (a progress bar) is returned in its last state. Colors and other control
    characters are left out, and a long line is cut.
    """
    output.seek(max(0, output.seek(0, os.SEEK_END) - _LAST_BYTES))
    shown = []
    for line in output.read().decode("utf-8", "replace").split("\n"):
        drawn = list(filter(str.strip, _CONTROLS.sub("", line).split("\r")))
        if drawn:
            last = drawn[-1].rstrip()
            is_long = len(last) > _SHOWN_CHARACTERS
            shown.append(f"{last[: _SHOWN_CHARACTERS - 1]}…" if is_long else last)
    return tuple(shown[-n:])


def free_read_output(output: BinaryIO, n_read_bytes: int) -> None:
    """Free the disk space of output that was read and that `pack_output` drops (only on Linux)."""
    make_hole, n_bytes = getattr(ctypes.CDLL(None), "fallocate", None), n_read_bytes - _LAST_BYTES
    if make_hole is not None and n_bytes > _KEPT_BYTES:
        mode = 3  # FALLOC_FL_PUNCH_HOLE and FALLOC_FL_KEEP_SIZE: only the disk space is freed
        make_hole(output.fileno(), mode, *map(ctypes.c_int64, (_KEPT_BYTES, n_bytes - _KEPT_BYTES)))


def pack_output(output: BinaryIO) -> None:
    """Compress the file of an output, such as output.txt, to output.gz, and shorten long output.

    The new file has the first 4 MiB and, if the output is longer, the last 64 KiB. If the disk is
    full, the old file remains.
    """
    path, n_bytes = Path(output.name), output.seek(0, os.SEEK_END)
    output.seek(0)
    try:
        with gzip.open(path.with_suffix(".gz"), "wb", compresslevel=1) as packed:
            packed.write(output.read(_KEPT_BYTES))
            if n_bytes > _KEPT_BYTES:
                packed.write(b"\n[of %d bytes, batchlab kept these and the last]\n" % n_bytes)
                output.seek(max(_KEPT_BYTES, n_bytes - _LAST_BYTES))
                packed.write(output.read())
        path.unlink()
    except OSError as error:
        _log.warning("%s: the output is not compressed (%s)", path, error.strerror)


class OutputReader:
    """A reader that finds progress in the output of one run, given in pieces of any length.

    A carriage return ends a line as a newline does. Only the first 64 KiB of a line are read, so
    that memory is bounded.
    """

    def __init__(self, pattern: str | None = None, *, metric: str | None = None) -> None:
        """Prepare to read a run from its beginning.

        Each line is matched first with `pattern`, if given. Lines with `metric` are never skipped.

        Raises:
            UsageError: the pattern is no regular expression, or has no named group for a value.
        """
        self._readers: list[LineReader] = [row() for row in FORMATS]
        if pattern is not None:
            self._readers.insert(0, LinePattern(pattern))
        # Search lines for the last word of the metric only, because scripts may print "val kappa"
        # as "kappa" below a header "Validation:".
        self._metric = re.sub(r"^.*[\s_](?=\S{3,}$)", "", (metric or "").lower())
        needles = {self._metric.encode()} if self._metric else set()
        for reader in self._readers:
            reader.metric = self._metric
            needles.update(reader.needles)
        self._needles = tuple(needles)
        self._rest = b""
        self._rest_at_s = 0.0

    def feed(self, data: bytes, at_s: float) -> list[Reading]:
        """Add output received at time `at_s`; return the readings of lines that it completes."""
        first, *others = data.replace(b"\r", b"\n").split(b"\n")
        if not self._rest or first:
            self._rest += first[: _LONGEST_LINE_BYTES - len(self._rest)]
            self._rest_at_s = at_s
        if not others:
            return []
        readings = self._read(self._rest, self._rest_at_s)
        *whole, self._rest = others
        self._rest, self._rest_at_s = self._rest[:_LONGEST_LINE_BYTES], at_s
        # Most output is not progress: skip all lines of `data` if it contains no word of progress.
        if self._may_be_progress(data):
            for line in whole:
                readings += self._read(line[:_LONGEST_LINE_BYTES], at_s)
        return readings

    def finish(self) -> list[Reading]:
        """Return the readings left at the end of a run, as from a last line without a newline."""
        readings = self._read(self._rest, self._rest_at_s)
        self._rest = b""
        for reader in self._readers:
            readings += self._of_training(reader.finish())
        return readings

    def _read(self, line: bytes, at_s: float) -> list[Reading]:
        if not self._may_be_progress(line):
            return []
        text = plain_text(line)
        for reader in self._readers:
            readings = reader.read(text, at_s)
            if readings is not None:
                return self._of_training(readings)
        return []

    def _may_be_progress(self, data: bytes) -> bool:
        lower = data.lower()
        is_open = any(reader.is_open for reader in self._readers)
        return is_open or any(needle in lower for needle in self._needles)

    def _of_training(self, readings: list[Reading]) -> list[Reading]:
        """Remove values about the machine, such as speeds, unless they may be the metric."""
        kept = []
        for reading in readings:
            values = tuple(pair for pair in reading.values if self._is_of_training(pair[0]))
            kept.append(replace(reading, values=values))
        return kept

    def _is_of_training(self, name: str) -> bool:
        may_be_metric = self._metric != "" and self._metric in name.lower()
        return may_be_metric or not is_of_machine(name)


_ENDINGS = (".csv", ".tsv", ".jsonl", "metrics.json", "result.json")
_LARGEST_BYTES = 1 << 24  # Ignore larger files, which contain data instead of progress.
_COST_FRACTION = 0.05  # Spend at most about this share of a run's time on reading its files.


class GrowingFiles:
    """A reader of the tables and JSON lines that a training writes into files of a folder.

    A file may be rewritten with one more column or row. So each changed file is read whole, and
    rows that were read before are skipped. `Reading.shape` is the path of the file in the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Prepare to read the rows that are added to files in `folder` from now on."""
        self._folder = folder
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._n_read: Counter[Path] = Counter()
        self._next_s = 0.0
        self.grown()

    def grown(self, *, is_last: bool = False) -> list[Reading]:
        """Return the readings of new rows, or [] soon after the last call (unless `is_last`)."""
        began_s, readings = time.monotonic(), []
        if began_s < self._next_s and not is_last:
            return []
        # Unlike `rglob`, this tolerates folders that the script renames meanwhile.
        for folder, _, names in os.walk(self._folder):
            for name in names:
                if name.endswith(_ENDINGS):
                    with suppress(OSError):
                        readings += self._news_of(Path(folder, name), began_s)
        self._next_s = time.monotonic() + (time.monotonic() - began_s) / _COST_FRACTION
        return readings

    def _news_of(self, path: Path, at_s: float) -> list[Reading]:
        status = path.stat()
        stamp = status.st_size, status.st_mtime_ns
        if stamp == self._stamps.get(path) or status.st_size >= _LARGEST_BYTES:
            return []
        content = path.read_bytes()
        if path.name.endswith((".jsonl", ".json")):
            content += b"\n"  # The last JSON line of a file may lack a newline, so add a newline.
        shapes, name = (Table.shape, JsonLines.shape), str(path.relative_to(self._folder))
        split = split_of(re.sub(r"[\W_]+", " ", name))
        rows = [row for row in OutputReader().feed(content, at_s) if row.shape in shapes]
        new = rows[self._n_read[path] :]
        self._n_read[path] += len(new)
        self._stamps[path] = stamp
        return [replace(row, shape=name, split=row.split or split) for row in new]
