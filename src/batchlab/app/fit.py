"""Fit: `batchlab.fit` fits the steps-to-target law to points that the user measured."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from batchlab.errors import BatchlabError
from batchlab.laws.steps import StepsObservation, StepsToTargetFit, fit_steps_to_target

PointRow = Mapping[str, object]
_MEASURES = ("steps_to_target", "samples_to_target")
# Numbers above this limit or below its inverse are refused, because the law would overflow.
_MOST = 1e15


def fit(points: str | Path | Iterable[PointRow]) -> StepsToTargetFit:
    """Fit the steps-to-target law S(B) = S_min (1 + B_crit/B) to measured points.

    For a batch size with several learning rates, only the best rate is used: the rate with the
    largest share of runs that reached the target or, if shares are equal, with the least geometric
    mean of steps.

    Args:
        points: a CSV file, or rows, one per run: `batch_size`, `steps_to_target` (or
            `samples_to_target`), and if known `learning_rate` and `after_steps`, the step of the
            last evaluation before the target. A run that never reached the target has only
            `after_steps`, its number of steps. Other columns are ignored.

    Returns:
        The law: `s_min`, `e_min`, `b_crit` and `exponent`, each with an interval or the reason why
        there is no interval, and `by_batch_size`, the expected and the measured steps.

    Raises:
        BatchlabError: the points cannot be read, or are too few for a law.
    """
    by_size: dict[int, dict[float | None, list[StepsObservation]]] = {}
    for place, row in _rows(points):
        try:
            rate, run = _number(row, "learning_rate"), _run(row)
        except BatchlabError as error:
            raise BatchlabError(f"{place}: {error}") from None
        by_size.setdefault(run.batch_size, {}).setdefault(rate, []).append(run)
    runs: list[StepsObservation] = []
    for _, by_rate in sorted(by_size.items()):
        best = min(by_rate.values(), key=_merit)
        runs.extend(best)
    return fit_steps_to_target(runs)


def _merit(runs: list[StepsObservation]) -> tuple[float, float]:
    # Compare learning rates by the share of runs that reached the target; if the shares are equal,
    # by the mean logarithm of the steps of these runs.
    logs = []
    for run in runs:
        if run.steps is not None:
            logs.append(statistics.fmean(run.log_range))
    mean = statistics.fmean(logs) if logs else 0.0
    return -len(logs) / len(runs), mean


def _rows(points: str | Path | Iterable[PointRow]) -> Iterator[tuple[str, PointRow]]:
    """Yield each row with its place, such as "points.csv, line 4"."""
    if isinstance(points, str | Path):
        yield from _lines(Path(points))
        return
    for number, row in enumerate(points, start=1):
        yield f"points, row {number}", row


def _lines(path: Path) -> Iterator[tuple[str, PointRow]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                if None in row:  # A number was written with a comma, such as 1,000.
                    raise BatchlabError(f"{place}: it has more fields than the header")
                yield place, row
    except FileNotFoundError:
        raise BatchlabError(f"there is no file {path}; give a CSV file with the points") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BatchlabError(f"{path} cannot be read as CSV: {error}; give a text file") from None


def _run(row: PointRow) -> StepsObservation:
    if "batch_size" not in row or not any(measure in row for measure in _MEASURES):
        missing = "batch_size" if "batch_size" not in row else " or ".join(_MEASURES)
        raise BatchlabError(
            f"there is no column {missing}, only {', '.join(row)}; name the columns in the first "
            f"line, separated by commas"
        )
    batch_size = _number(row, "batch_size")
    if batch_size is None or batch_size != int(batch_size):
        raise BatchlabError(
            f"batch_size={row['batch_size']}; expected a whole number of at least 1"
        )
    steps, samples = (_number(row, measure) for measure in _MEASURES)
    if steps is None and samples is not None:
        steps = samples / batch_size
    after = _number(row, "after_steps", least=0.0) or 0.0
    if steps is None and after == 0:
        raise BatchlabError(
            "a run that never reached its target needs the number of its steps; give it as "
            "after_steps"
        )
    if steps is not None and steps < after:
        raise BatchlabError(
            f"the target was reached within {steps:.6g} steps and not after {after:.6g}; "
            f"correct after_steps"
        )
    return StepsObservation(batch_size=int(batch_size), after_steps=after, steps=steps)


def _number(row: PointRow, column: str, least: float = 1 / _MOST) -> float | None:
    # After an unclosed quote, a field has several lines: join them for a message of one line.
    written = " ".join(str(row.get(column, "")).split())
    if written in ("", "None"):
        return None
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not least <= value <= _MOST:
        raise BatchlabError(
            f"{column}={written}; expected a number from {least:g} to {_MOST:g}; correct that "
            "point or leave it out"
        )
    return value
