"""PointsFile: measured points of steps to target, from a CSV file or from rows in Python."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchlab.errors import FitError, UsageError
from batchlab.laws.steps_table import StepsObservation

MEASURES = ("steps_to_target", "samples_to_target")
# No training was ever measured beyond it or below its inverse, and there a law overflows.
_MOST = 1e15
OWN_COLUMNS = ("batch_size", *MEASURES, "after_steps", "seed", "learning_rate", "step_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One run of a points file.

    Attributes:
        observation: its batch size and when it reached the target.
        seed: as written, None without one.
        learning_rate: None where the file has none.
        step_s: seconds per step, None where it is not known.
        group: its values in the grouping columns, as written.
    """

    observation: StepsObservation
    seed: str | None
    learning_rate: float | None
    step_s: float | None
    group: tuple[str, ...]


def read_points(
    source: str | Path | Iterable[Mapping[str, object]], *, group_by: Sequence[str]
) -> tuple[Point, ...]:
    """The points of a CSV file with a header, or of rows that map its columns to values.

    Args:
        source: the file, or the rows; columns `batch_size` and `steps_to_target` (or
            `samples_to_target`), optional `after_steps`, `seed`, `learning_rate`, `step_s`. A run
            that never reached its target has no steps, and says in `after_steps` how far it went.
        group_by: further columns, whose values tell groups apart.

    Raises:
        UsageError: a grouping column that is not there.
        FitError: no file, no points, a missing column, or a value that is not possible; the
            message names the line.
    """
    name, rows = _rows(source)
    if not rows:
        raise FitError(
            f"{name} holds no points; give a header such as batch_size,steps_to_target and a line "
            f"for each run"
        )
    columns = list(rows[0][1])
    listing = ", ".join(columns) or "none"
    if "batch_size" not in columns or not any(measure in columns for measure in MEASURES):
        missing = "batch_size" if "batch_size" not in columns else " or ".join(MEASURES)
        raise FitError(
            f"{name} has no column {missing}; it has {listing}; name them so in the first line, "
            f"with commas between"
        )
    for column in group_by:
        if column not in columns:
            raise UsageError(f"{name} has no column {column!r}; it has {listing}")
    return tuple(_point(row, f"{name}, {where}", group_by) for where, row in rows)


def _rows(
    source: str | Path | Iterable[Mapping[str, object]],
) -> tuple[str, list[tuple[str, Mapping[str, object]]]]:
    if not isinstance(source, (str, Path)):
        return "points", [(f"row {i}", row) for i, row in enumerate(source, start=1)]
    path = Path(source)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            _check_each_once(reader.fieldnames or (), path)
            found = [(f"line {reader.line_num}", row) for row in reader]
    except FileNotFoundError:
        raise FitError(f"there is no file {path}; give a CSV file with the points") from None
    except IsADirectoryError:
        raise FitError(f"{path} is a folder; give a CSV file with the points") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FitError(f"{path} cannot be read as CSV: {error}; give a text file") from None
    return str(path), [(where, _trimmed(row, path, where)) for where, row in found]


def _check_each_once(columns: Sequence[str], path: Path) -> None:
    """Of two columns with one name only the last would be read."""
    names = [column.strip() for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise FitError(f"{path} has the column {name} twice; rename one, or leave it out")


def _trimmed(row: Mapping[str | None, object], path: Path, where: str) -> Mapping[str, object]:
    if None in row or None in row.values():
        raise FitError(
            f"{path}, {where}: it has not as many fields as the header has; mend that line"
        )
    return {str(key).strip(): str(value).strip() for key, value in row.items()}


def _point(row: Mapping[str, object], where: str, group_by: Sequence[str]) -> Point:
    batch_size = _number(row, "batch_size", where)
    if batch_size is None or batch_size != int(batch_size):
        raise FitError(
            f"{where}: batch_size={row.get('batch_size')!r}; expected a whole number of at least 1"
        )
    steps = _number(row, "steps_to_target", where)
    if steps is None:
        samples = _number(row, "samples_to_target", where)
        steps = None if samples is None else samples / batch_size
    # after_steps may be 0: the first evaluation met the target.
    after = _number(row, "after_steps", where, zero=True) or 0.0
    if steps is None and after == 0:
        raise FitError(
            f"{where}: no steps_to_target; a run that never reached its target gives in a column "
            f"after_steps the steps that it went"
        )
    if steps is not None and after > steps:
        raise FitError(
            f"{where}: after_steps={after:g} is above the steps to target, {steps:g}; it is the "
            f"last evaluation before them"
        )
    seed = row.get("seed")
    return Point(
        observation=StepsObservation(batch_size=int(batch_size), after_steps=after, steps=steps),
        seed=None if seed in (None, "") else str(seed),
        learning_rate=_number(row, "learning_rate", where),
        step_s=_number(row, "step_s", where),
        group=tuple(str(row[column]) for column in group_by),
    )


def _number(
    row: Mapping[str, object], column: str, where: str, *, zero: bool = False
) -> float | None:
    """The number of a column, None where it is empty or not there.

    Raises:
        FitError: not a finite number above 0 (or 0, with `zero`), or out of range.
    """
    given = row.get(column)
    if given is None or given == "":
        return None
    try:
        value = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not (value == 0 and zero) and not 1 / _MOST <= value <= _MOST:
        shown = " ".join(str(given).split())  # a quote left open makes a value of many lines
        raise FitError(
            f"{where}: {column}={shown}; expected a number above 0, from {1 / _MOST:g} to "
            f"{_MOST:g}; mend that point or leave it out"
        )
    return value
