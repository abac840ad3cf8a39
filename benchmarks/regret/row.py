"""Row: one trial of a grid, as it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.records.target import Target

COLUMNS = ("batch_size", "learning_rate", "seed", "status", "steps", "curve")

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


def written(row: Row, reference_rate: float) -> Sequence[object]:
    """The row as the fields of a line."""
    curve = ";".join(
        f"{step}:{'' if value is None else f'{value:.4g}'}" for step, value in row.curve
    )
    rate = reference_rate * 2.0**row.octave
    return row.batch_size, rate, row.seed, row.status, row.curve[-1][0], curve


def parsed(line: Sequence[str], reference_rate: float) -> Row:
    """The row that `written` made the line of."""
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
