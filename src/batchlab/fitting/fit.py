"""PointsFit: the steps-to-target law of each group of measured points, and across the groups."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchlab.errors import FitError, UsageError
from batchlab.fitting.group_fit import AcrossFit, BatchSizeSummary, GroupFit
from batchlab.fitting.points_file import Point, read_points
from batchlab.laws.overhead import batch_at_overhead, check_overhead
from batchlab.laws.power_law import fit_power_law
from batchlab.laws.registry import every_law
from batchlab.laws.steps_to_target import StepsToTargetFit, fit_steps_to_target
from batchlab.records.shown import ShownInNotebook

_ACROSS = ("b_crit", "batch_at_overhead")


@dataclass(frozen=True, kw_only=True, slots=True)
class PointsFit(ShownInNotebook):
    """What `batchlab fit` found.

    Attributes:
        source: the file, "points" for rows.
        overhead_fraction: of `batch_at_overhead`.
        groups: one fit a group, in the order of their values.
        across: the power laws over `--across`, None where it was not asked for.
    """

    source: str
    overhead_fraction: float
    groups: tuple[GroupFit, ...]
    across: tuple[AcrossFit, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints, described by docs/schema/fit.json."""
        from batchlab.fitting.document import fit_document
        from batchlab.words.document import plain

        found: dict[str, Any] = plain(fit_document(self))
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
    read = read_points(points, group_by=columns)
    if across is not None:
        _check_numbers(read, columns.index(across), across)
    members: dict[tuple[str, ...], list[Point]] = {}
    for point in read:
        members.setdefault(point.group, []).append(point)
    groups = tuple(
        _fit_group(
            tuple(zip(columns, values, strict=True)),
            members[values],
            overhead_fraction,
            reference_batch_size,
        )
        for values in sorted(members, key=lambda values: [_order(value) for value in values])
    )
    return PointsFit(
        source=str(points) if isinstance(points, (str, Path)) else "points",
        overhead_fraction=overhead_fraction,
        groups=groups,
        across=None if across is None else tuple(_across(groups, across)),
    )


def _fit_group(
    group: tuple[tuple[str, str], ...],
    points: Sequence[Point],
    overhead_fraction: float,
    reference_batch_size: int | None,
) -> GroupFit:
    by_size: dict[int, list[Point]] = {}
    for point in points:
        by_size.setdefault(point.observation.batch_size, []).append(point)
    chosen = {size: _at_best_rate(by_size[size]) for size in sorted(by_size)}
    used = tuple(point for size in chosen for point in chosen[size])
    try:
        law = fit_steps_to_target([point.observation for point in used])
    except FitError as error:
        named = ", ".join(f"{column}={value}" for column, value in group)
        raise FitError(f"group {named}: {error}" if named else str(error)) from None
    return GroupFit(
        group=group,
        points=used,
        fit=law,
        laws=every_law(law),
        batch_at_overhead=batch_at_overhead(
            law, overhead_fraction=overhead_fraction, reference_batch_size=reference_batch_size
        ),
        reference_batch_size=float(reference_batch_size or law.batch_sizes[0]),
        batch_sizes=tuple(
            _summary(size, chosen[size], by_size[size], law) for size in sorted(by_size)
        ),
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
    batch_size: int, chosen: Sequence[Point], every: Sequence[Point], law: StepsToTargetFit
) -> BatchSizeSummary:
    seen = [point.observation for point in chosen]
    reached = [observation.log_middle for observation in seen if not observation.censored]
    whole = len(reached) == len(seen)
    steps = math.exp(statistics.fmean(reached)) if whole else None
    times = [point.step_s for point in every if point.step_s is not None]
    step_s = statistics.median(times) if times else None
    rates = sorted({p.learning_rate for p in every if p.learning_rate is not None})
    line = law.line()
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


def _across(groups: Sequence[GroupFit], column: str) -> Iterable[AcrossFit]:
    """The power laws over `column`, one for each combination of the other columns."""
    others: dict[tuple[tuple[str, str], ...], list[GroupFit]] = {}
    for group in groups:
        rest = tuple(pair for pair in group.group if pair[0] != column)
        others.setdefault(rest, []).append(group)
    for rest, members in others.items():
        for quantity in _ACROSS:
            x, y = [], []
            for group in members:
                found = group.fit.b_crit if quantity == "b_crit" else group.batch_at_overhead
                if found.estimate is not None:
                    x.append(float(dict(group.group)[column]))
                    y.append(found.estimate)
            yield AcrossFit(
                quantity=quantity,
                column=column,
                group=rest,
                law=fit_power_law(x, y),
                left_out=len(members) - len(x),
            )


def _check_numbers(points: Sequence[Point], place: int, column: str) -> None:
    for point in points:
        value = _as_number(point.group[place])
        if value is None or not value > 0:
            raise UsageError(
                f"--across {column}: {point.group[place]!r} is not a finite number above 0; a "
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
