"""PointsFit: the steps-to-target law through points of a CSV file."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchlab.errors import FitError, UsageError
from batchlab.laws.lines import fit_power_law
from batchlab.laws.registry import FittedLaw, every_law
from batchlab.laws.steps import (
    LackOfFit,
    StepsToTargetFit,
    batch_at_overhead,
    check_overhead,
    fit_steps_to_target,
)
from batchlab.laws.steps_curve import StepsObservation
from batchlab.records.estimate import Estimate
from batchlab.records.shown import ShownInNotebook
from batchlab.version import __version__
from batchlab.words.document import SCHEMA

MEASURES = ("steps_to_target", "samples_to_target")
# No training was ever measured beyond it or below its inverse, and there a law overflows.
_MOST = 1e15


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One run; `steps_to_target` null: not reached after `after_steps`."""

    batch_size: int
    steps_to_target: float | None
    after_steps: float
    seed: str | None
    learning_rate: float | None
    step_s: float | None

    @property
    def observation(self) -> StepsObservation:
        """Its batch size and when it reached the target."""
        return StepsObservation(
            batch_size=self.batch_size, after_steps=self.after_steps, steps=self.steps_to_target
        )


Groups = dict[tuple[str, ...], list[Point]]


def read_points(
    source: str | Path | Iterable[Mapping[str, object]], *, group_by: Sequence[str]
) -> Groups:
    """The points of a CSV file, or of rows, by their values in the grouping columns, as written.

    A run that never reached its target has no steps, and says in `after_steps` how far it went.
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
    groups: Groups = {}
    for where, row in rows:
        values = tuple(str(row[column]) for column in group_by)
        groups.setdefault(values, []).append(_point(row, f"{name}, {where}"))
    return groups


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


def _point(row: Mapping[str, object], where: str) -> Point:
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
        batch_size=int(batch_size),
        steps_to_target=steps,
        after_steps=after,
        seed=None if seed in (None, "") else str(seed),
        learning_rate=_number(row, "learning_rate", where),
        step_s=_number(row, "step_s", where),
    )


def _number(
    row: Mapping[str, object], column: str, where: str, *, zero: bool = False
) -> float | None:
    """The number of a column, None where it is empty or not there."""
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


METHOD = (
    "least squares on log steps; 95 % intervals from joint draws with the scatter of the seeds "
    "pooled over batch sizes"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSizeSummary:
    """One batch size of a group, at the learning rate that was chosen for it.

    Attributes:
        batch_size: examples per step.
        n: runs at that rate.
        n_reached: those that reached the target.
        learning_rate: the rate chosen, None where the points have none.
        rate_at_edge: whether it is the smallest or largest of several tried.
        steps_to_target: geometric mean over the runs, None where one did not get there.
        fitted_steps: the law's, None where it does not hold.
        step_s: median seconds per step, None where not known.
        time_to_target_s: their product, None where either is not known.
    """

    batch_size: int
    n: int
    n_reached: int
    learning_rate: float | None
    rate_at_edge: bool
    steps_to_target: float | None
    fitted_steps: float | None
    step_s: float | None
    time_to_target_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupFit:
    """The law of one group, and every law; residuals of log steps are in the order of `points`."""

    group: dict[str, str]
    n: int
    s_min: Estimate
    e_min: Estimate
    b_crit: Estimate
    exponent: Estimate
    law_holds: bool
    lack_of_fit: LackOfFit
    seed_sd: float | None
    between_sd: float | None
    batch_at_overhead: Estimate
    reference_batch_size: float
    residuals: tuple[float | None, ...]
    laws: tuple[FittedLaw, ...]
    points: tuple[Point, ...]
    batch_sizes: tuple[BatchSizeSummary, ...]
    _fit: StepsToTargetFit

    @property
    def fit(self) -> StepsToTargetFit:
        """The law that decisions use, for steps at other batch sizes."""
        return self._fit


@dataclass(frozen=True, kw_only=True, slots=True)
class AcrossFit:
    """quantity = coefficient × column^exponent over the groups."""

    quantity: str
    column: str
    group: dict[str, str]
    exponent: Estimate
    coefficient: Estimate
    left_out: int


_ACROSS = ("b_crit", "batch_at_overhead")


@dataclass(frozen=True, kw_only=True, slots=True)
class PointsFit(ShownInNotebook):
    """What `batchlab fit` found: fits of the law S(B) = s_min (1 + b_crit / B).

    Attributes:
        schema: version of the document.
        command: "fit".
        batchlab: the version that made it.
        source: the file, "points" for rows.
        method: how the laws were fitted.
        overhead_fraction: of `batch_at_overhead`.
        groups: one fit a group, in the order of their values.
        across: the power laws over `--across`, None where it was not asked for.
    """

    schema: int
    command: str
    batchlab: str
    source: str
    method: str
    overhead_fraction: float
    groups: tuple[GroupFit, ...]
    across: tuple[AcrossFit, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints, described by docs/schema/fit.json."""
        from batchlab.words.document import plain

        found: dict[str, Any] = plain(self)
        return found


def fit(
    points: str | Path | Iterable[Mapping[str, object]],
    *,
    group_by: Sequence[str] = (),
    across: str | None = None,
    overhead_fraction: float = 0.2,
    reference_batch_size: int | None = None,
) -> PointsFit:
    """Fit the steps-to-target law S(B) = S_min (1 + B_crit/B) to measured points.

    A batch size with several learning rates counts at one of them: among the rates at which most
    runs reached the target, that with the least geometric mean steps over seeds, not the best run.

    Args:
        points: a CSV file, or rows: `batch_size` and `steps_to_target` (or `samples_to_target`),
            optional `after_steps`, `seed`, `learning_rate`, `step_s` and grouping columns.
        group_by: columns whose values tell groups apart; one law is fitted to each.
        across: a column of numbers, which is grouped by as well: B_crit and the batch size at the
            overhead are fitted as powers of it.
        overhead_fraction: share of samples above the reference's for `batch_at_overhead`, > 0.
        reference_batch_size: what that share is counted from; None: each group's smallest.

    Returns:
        The fits with their intervals, or the reasons for none.

    Raises:
        UsageError: an option outside what is possible.
        FitError: points that cannot be read, or too few for a law; the message names the group.
    """
    check_overhead(overhead_fraction, reference_batch_size)
    columns = list(dict.fromkeys([*group_by, *([] if across is None else [across])]))
    members = read_points(points, group_by=columns)
    if across is not None:
        _check_numbers((values[columns.index(across)] for values in members), across)
    groups = tuple(
        _fit_group(
            dict(zip(columns, values, strict=True)),
            members[values],
            overhead_fraction,
            reference_batch_size,
        )
        for values in sorted(members, key=lambda values: [_order(value) for value in values])
    )
    return PointsFit(
        schema=SCHEMA,
        command="fit",
        batchlab=__version__,
        method=METHOD,
        source=str(points) if isinstance(points, (str, Path)) else "points",
        overhead_fraction=overhead_fraction,
        groups=groups,
        across=None if across is None else tuple(_fit_across(groups, across)),
    )


def _fit_group(
    group: dict[str, str],
    points: Sequence[Point],
    overhead_fraction: float,
    reference_batch_size: int | None,
) -> GroupFit:
    by_size: dict[int, list[Point]] = {}
    for point in points:
        by_size.setdefault(point.batch_size, []).append(point)
    chosen = {size: _at_best_rate(by_size[size]) for size in sorted(by_size)}
    used = tuple(point for size in chosen for point in chosen[size])
    try:
        law = fit_steps_to_target([point.observation for point in used])
    except FitError as error:
        named = ", ".join(f"{column}={value}" for column, value in group.items())
        raise FitError(f"group {named}: {error}" if named else str(error)) from None
    return GroupFit(
        group=group,
        n=len(used),
        s_min=law.s_min,
        e_min=law.e_min,
        b_crit=law.b_crit,
        exponent=law.exponent,
        law_holds=law.law_holds,
        lack_of_fit=law.lack_of_fit,
        seed_sd=law.seed_sd,
        between_sd=law.between_sd,
        batch_at_overhead=batch_at_overhead(
            law, overhead_fraction=overhead_fraction, reference_batch_size=reference_batch_size
        ),
        reference_batch_size=float(reference_batch_size or law.batch_sizes[0]),
        residuals=law.residuals,
        laws=every_law(law),
        points=used,
        batch_sizes=tuple(_summary(chosen[size], by_size[size], law) for size in chosen),
        _fit=law,
    )


def _at_best_rate(points: Sequence[Point]) -> list[Point]:
    """The runs of one batch size at the rate with the least mean log steps over seeds.

    Rates at which a smaller share of the runs reached the target come after: a mean over the runs
    that did would hide the others.
    """
    by_rate: dict[float | None, list[Point]] = {}
    for point in points:
        by_rate.setdefault(point.learning_rate, []).append(point)

    def merit(rate: float | None) -> tuple[float, float]:
        reached = [p.observation.log_middle for p in by_rate[rate] if not p.observation.censored]
        share = len(reached) / len(by_rate[rate])
        return -share, statistics.fmean(reached) if reached else 0.0

    return by_rate[min(by_rate, key=merit)]


def _summary(
    chosen: Sequence[Point], every: Sequence[Point], law: StepsToTargetFit
) -> BatchSizeSummary:
    seen = [point.observation for point in chosen]
    reached = [observation.log_middle for observation in seen if not observation.censored]
    whole = len(reached) == len(seen)
    steps = math.exp(statistics.fmean(reached)) if whole else None
    times = [point.step_s for point in every if point.step_s is not None]
    step_s = statistics.median(times) if times else None
    rates = sorted({p.learning_rate for p in every if p.learning_rate is not None})
    line, batch_size = law.line(), chosen[0].batch_size
    return BatchSizeSummary(
        batch_size=batch_size,
        n=len(seen),
        n_reached=len(reached),
        learning_rate=chosen[0].learning_rate,
        rate_at_edge=len(rates) > 1 and chosen[0].learning_rate in (rates[0], rates[-1]),
        steps_to_target=steps,
        fitted_steps=None if line is None else math.exp(float(line.log_steps([batch_size])[0, 0])),
        step_s=step_s,
        time_to_target_s=None if steps is None or step_s is None else steps * step_s,
    )


def _fit_across(groups: Sequence[GroupFit], column: str) -> Iterator[AcrossFit]:
    """The power laws over `column`, one for each combination of the other columns."""
    others: dict[tuple[str, ...], list[GroupFit]] = {}
    for group in groups:
        rest = tuple(value for name, value in group.group.items() if name != column)
        others.setdefault(rest, []).append(group)
    for members in others.values():
        for name in _ACROSS:
            found = [(group.group[column], getattr(group, name).estimate) for group in members]
            known = [(float(x), y) for x, y in found if y is not None]
            law = fit_power_law([x for x, _ in known], [y for _, y in known])
            yield AcrossFit(
                quantity=name,
                column=column,
                group={name: it for name, it in members[0].group.items() if name != column},
                exponent=law.exponent,
                coefficient=law.coefficient,
                left_out=len(members) - len(known),
            )


def _check_numbers(written: Iterable[str], column: str) -> None:
    for text in written:
        value = _as_number(text)
        if value is None or not value > 0:
            raise UsageError(
                f"--across {column}: {text!r} is not a finite number above 0; a "
                f"power law needs such numbers, use --group-by {column} instead"
            )


def _order(value: str) -> tuple[int, float, str]:
    """Numbers by size, before words by the alphabet."""
    number = _as_number(value)
    return (1, 0.0, value) if number is None else (0, number, value)


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
