"""RowFile: the rows of one grid, a trial each, on the disk while it is recorded and after.

Stopped at any moment, nothing is lost: each finished run is a line of NAME.partial.csv. When all
are done, the lines are packed into NAME.csv.gz, and NAME.json says what they are.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchlab.records.trial import Target

_COLUMNS = ("batch_size", "learning_rate", "seed", "status", "steps", "curve")

RowKey = tuple[int, int, int]
"""Batch size, octave and seed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial of the grid, as it is written.

    Attributes:
        batch_size: examples per step.
        octave: its rate is the reference rate times 2 to this power.
        seed: of initial weights and order of examples.
        status: how it ended.
        curve: (step, value of the validation metric) at every evaluation; None: not finite.
    """

    batch_size: int
    octave: int
    seed: int
    status: str
    curve: tuple[tuple[int, float | None], ...]

    @property
    def key(self) -> RowKey:
        """What tells it from the other rows of its grid."""
        return self.batch_size, self.octave, self.seed

    def samples_to(self, level: Target) -> int | None:
        """Examples processed when the level was first met, None if it was not."""
        for step, value in self.curve:
            if step > 0 and level.met_by(value):
                return step * self.batch_size
        return None


class RowFile:
    """The rows of one grid on the disk."""

    def __init__(self, folder: Path, name: str, *, reference_rate: float) -> None:
        """See the grid `name`.

        Args:
            folder: where its files are.
            name: of the workload.
            reference_rate: the learning rate of octave 0.
        """
        self._rate = reference_rate
        self._partial = folder / f"{name}.partial.csv"
        self._packed = folder / f"{name}.csv.gz"
        self._header = folder / f"{name}.json"

    @property
    def is_packed(self) -> bool:
        """Whether the grid is there, and nothing has come since."""
        return self._packed.exists() and not self._partial.exists()

    def rows(self) -> Iterator[Row]:
        """Those that were packed, then those that have come since."""
        for line in (*packed_lines(self._packed), *lines(self._partial)):
            yield _parsed(line, self._rate)

    def append(self, row: Row) -> None:
        """Keep one more."""
        with self._partial.open("a", newline="") as stream:
            csv.writer(stream).writerow(_written(row, self._rate))

    def known(self, field: str) -> Any:
        """What the header says under `field`; None without a header, or where it says nothing."""
        with suppress(FileNotFoundError):
            return json.loads(self._header.read_text()).get(field)
        return None

    def pack(self, rows: Iterable[Row], header: dict[str, object]) -> None:
        """Write the grid and what must be known about it; the lines on the disk are then done."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row in sorted(rows, key=lambda row: row.key):
            writer.writerow(_written(row, self._rate))
        # No time in the header: the same grid gives the same bytes.
        _replace(self._packed, gzip.compress(text.getvalue().encode(), mtime=0))
        _replace(self._header, (json.dumps(header, indent=2) + "\n").encode())
        self._partial.unlink(missing_ok=True)


def packed_lines(path: Path) -> Iterator[list[str]]:
    """The lines of a packed grid without their head; none where there is no file."""
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        return
    yield from csv.reader(gzip.decompress(packed).decode().splitlines()[1:])


def lines(path: Path) -> Iterator[list[str]]:
    """The whole lines of an unpacked grid; none where there is no file."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return
    # A line without its end was being written when the machine stopped.
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    yield from csv.reader(whole.splitlines())


def _written(row: Row, reference_rate: float) -> Sequence[object]:
    """The row as the fields of a line."""
    curve = ";".join(
        f"{step}:{'' if value is None else f'{value:.4g}'}" for step, value in row.curve
    )
    rate = reference_rate * 2.0**row.octave
    return row.batch_size, rate, row.seed, row.status, row.curve[-1][0], curve


def _parsed(line: Sequence[str], reference_rate: float) -> Row:
    """The row that `_written` made the line of."""
    batch_size, rate, seed, status, _, curve = line
    points = (point.split(":") for point in curve.split(";"))
    octave = 0
    while abs(reference_rate * 2.0**octave / float(rate) - 1) > 0.1:
        octave += 1 if reference_rate * 2.0**octave < float(rate) else -1
    return Row(
        batch_size=int(batch_size),
        octave=octave,
        seed=int(seed),
        status=status,
        curve=tuple((int(step), float(value) if value else None) for step, value in points),
    )


def _replace(path: Path, content: bytes) -> None:
    """Write all of it or nothing."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)
