"""A comparison of two studies: the figures of both and how they differ, in words and as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, geometric_mean
from typing import Any, Literal, TypeVar

from scipy.special import ndtri

from batchlab.advice.advice import Advice
from batchlab.belief.cell_means import CellMeans
from batchlab.belief.final_value import end_errors
from batchlab.laws.lines import SIZES_FOR_LAW
from batchlab.laws.mean import mean_interval
from batchlab.laws.step_time import fit_step_time
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate
from batchlab.records.shown import ShownInNotebook
from batchlab.records.study import MetricSummary, StepTiming, Study
from batchlab.records.trial import Crossing, Target, TrialRecord
from batchlab.report.cells import cells, deciding_split
from batchlab.report.table import Column, Section, Table, Value
from batchlab.report.text import interval_only_text, label_text, quantity_text
from batchlab.version import __version__
from batchlab.words.catalogue import capitalized, listing, number_text, plural, text
from batchlab.words.document import SCHEMA, plain

_IDENTITY, _OF_RUNS = "workload id", "runs that "
_MISSES = 0.05  # the share of comparisons in which any of the intervals may miss
Key = tuple[int, float | None]  # batch size, learning rate
Pair = tuple[Key, Key]  # a key of A and a key of B
Ends = dict[Key, tuple[float, list[float]]]  # epochs and final values of whole trainings
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Something of workload, target, machine or versions that is not the same in both."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A quantity at a batch size that both have; `batch_size` null: its mean over all of them.

    `change` is B over A where `is_ratio`, else B less A. In 95 of 100 comparisons the intervals of
    all changes hold at once. Rates and epochs are A's and B's; null: the quantity has none.
    """

    quantity: str
    batch_size: int | None
    learning_rates: tuple[float | None, float | None] = (None, None)
    epochs: tuple[float | None, float | None] = (None, None)
    a: Estimate | None = None
    b: Estimate | None = None
    change: Estimate
    is_ratio: bool

    document = (
        *("quantity", "batch_size", "learning_rates", "epochs", "a", "b", "change", "is_ratio"),
        "verdict",
    )

    @property
    def verdict(self) -> Literal["differs", "within_noise", "cannot_tell"]:
        """Whether the two sides differ beyond noise."""
        if self.change.low is None or self.change.is_too_wide:
            return "cannot_tell"
        return "within_noise" if self.change.holds(float(self.is_ratio)) else "differs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(ShownInNotebook):
    """Two studies side by side, and what differs beyond noise.

    Attributes:
        a: the first study, in words.
        b: the second.
        n_shared: runs and timings that are in both, because one store does no work twice.
        settings: the parts of workload, target, machine and versions that differ.
        target: the level that steps and times refer to, or None if the two share none.
        figures: step time, steps and time to the target, the metric at the end and memory.
    """

    schema: int = SCHEMA
    command: str = "compare"
    batchlab: str = __version__
    a: str
    b: str
    n_shared: int
    settings: tuple[Setting, ...]
    target: Target | None
    figures: tuple[Figure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what `batchlab compare --json` prints, described by docs/schema/compare.json."""
        made: dict[str, Any] = plain(self)
        return made


# ---- the two sides


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two studies, as far as it is known."""

    name: str
    study: Study | None = None
    profile: Profile | None = None
    advice: Advice | None = None

    @property
    def target(self) -> Target | None:
        """The level that its runs had to reach."""
        asked = self.advice or self.study
        return None if asked is None else asked.target

    @property
    def metric(self) -> MetricSummary | None:
        """The metric that counts."""
        return None if self.study is None else self.study.workload.metrics[0]

    @property
    def timings(self) -> list[StepTiming]:
        """The step times, one per process."""
        points = self.profile.points if self.profile else ()
        timed = [timing for point in points if point.ran for timing in point.timings]
        return timed if self.profile or not self.study else [*self.study.timings]

    @property
    def runs(self) -> list[TrialRecord]:
        """The runs to compare, which are those without a plan."""
        return [r for r in self.study.records if not r.trial.stages] if self.study else []

    def settings(self, target: Target | None) -> dict[str, str]:
        """Return workload, target, machine and versions by name, and how many runs are unusable."""
        made = self.profile or self.study
        assert made is not None
        known: dict[str, Any] = plain((self.study or made).workload)
        known = {name.replace("_", " "): value for name, value in known.items()}
        known |= known.pop("settings", {})
        known["device"] = self.timings[0].device if self.timings else None
        if self.study is not None:
            well = [run for run in self.runs if not run.has_failed]
            missed = [run for run in well if target is not None and not run.crossing(target)]
            known["target"] = self.target and f"{self.target.metric}={self.target.value:.4g}"
            known["objective"] = self.advice and self.advice.objective
            known[f"{_OF_RUNS}ended badly"] = len(self.runs) - len(well)
            known[f"{_OF_RUNS}missed the target"] = len(missed)
        return {name: str(value) for name, value in (known | dict(made.environment)).items()}

    def step_s(self, wider: float) -> dict[Key, Estimate]:
        """Return seconds per step of each batch size; `wider` scales their 95 % intervals.

        Whole sessions may differ from each other by as much as single processes do.
        """
        timed = {timing.batch_size: timing.step_s for timing in self.timings}
        alone = {n: Estimate.of(s, n=1) for n, s in timed.items()}
        made, session = self.profile, 0.0
        if made is not None and (scatter := made.process_scatter) is not None:
            alone = {size: made.step_s(size) for size in timed if made.best_micro_batch(size)}
            session = scatter.half_width(1)
        elif len(timed) >= SIZES_FOR_LAW:
            # With one process per size, only their residuals from the law show their scatter.
            law = fit_step_time([*alone.items()])
            alone = {size: law.step_s(size) for size in timed}
            session = float(ndtri(0.975)) * law.off_the_law_fraction
        return {
            (size, None): Estimate.of_log(
                _log(known),
                None
                if (half := known.log_half_width) is None
                else math.hypot(wider * half, session),
                n=known.n,
            )
            for size, known in alone.items()
        }

    @property
    def peak_bytes(self) -> dict[Key, Estimate]:
        """The peak memory of each batch size, in the form that ran fastest."""
        if self.profile is None:
            peaks = {timing.batch_size: timing.peak_bytes for timing in self.timings}
        else:
            best = (self.profile.best_micro_batch(p.batch_size) for p in self.profile.points)
            peaks = {point.batch_size: point.peak_bytes for point in best if point}
        return {(size, None): Estimate.of(peak, n=1) for size, peak in peaks.items() if peak}

    def crossings(self, target: Target | None) -> dict[Key, list[Crossing]]:
        """Return where the runs of each batch size and rate met a target, if all of them did."""
        found: dict[Key, list[Crossing | None]] = {}
        for run in self.runs:
            if target is not None and run.status is not None and not run.has_failed:
                found.setdefault(self._key(run), []).append(run.crossing(target))
        return {key: [c for c in met if c] for key, met in found.items() if all(met)}

    @property
    def ends(self) -> Ends:
        """The epochs of whole trainings and their final values, one per seed."""
        if self.advice is not None:
            endings = self.advice.endings
            each = (endings.named, *endings.references) if endings else ()
            return {end.cell: (end.epochs, [*end.found]) for end in each if end.found}
        if self.study is None:
            return {}
        split = deciding_split(self.study)
        of_sizes = (cell for cell in cells(self.study) if isinstance(cell.kind, int))
        found = {(c.batch_size, c.shown_rate): c for c in of_sizes}
        ends = {key: [*cell.final(self.study, split)] for key, cell in found.items()}
        return {key: (found[key].ended_well[0].epochs, end) for key, end in ends.items() if end}

    def _key(self, run: TrialRecord) -> Key:
        takes_rate = self.study is None or self.study.workload.takes_rate
        return run.trial.batch_size, run.trial.learning_rate if takes_rate else None


def compared(a: Side, b: Side) -> Comparison:
    """Return what differs between the two sides."""
    target = _shared_target(a.target, b.target)
    ours, theirs = a.settings(target), b.settings(target)
    begun = [{(run.trial.trial_id, run.evaluations[1:2]) for run in side.runs} for side in (a, b)]
    return Comparison(
        a=a.name,
        b=b.name,
        n_shared=len({*a.timings} & {*b.timings}) + len(begun[0] & begun[1]),
        settings=tuple(
            Setting(name=name, a=ours[name], b=theirs[name])
            for name in ours
            if ours[name] != theirs.get(name, ours[name])
        ),
        target=target,
        figures=tuple(_figures(a, b, target)),
    )


def _shared_target(one: Target | None, other: Target | None) -> Target | None:
    """Return the easier target, because runs to the harder one meet it on their way."""
    if one is None or other is None:
        return one or other
    if (one.metric, one.better) != (other.metric, other.better):
        return None
    return other if other.met_by(one.value) else one


def _log(known: Estimate) -> float:
    assert known.estimate is not None
    return math.log(known.estimate)


def _times(one: Estimate, other: Estimate, power: int = 1) -> Estimate:
    """Return the product of two independent estimates; with power -1, the first over the second."""
    halves = [half for each in (one, other) if (half := each.log_half_width) is not None]
    half = math.hypot(*halves) if len(halves) == 2 else None
    return Estimate.of_log(_log(one) + power * _log(other), half, n=min(one.n, other.n))


def _figures(a: Side, b: Side, target: Target | None) -> Iterator[Figure]:
    """Yield every figure that both have. The more there are, the wider each interval is."""
    met = a.crossings(target), b.crossings(target)
    ends = (a.ends, b.ends) if a.metric == b.metric else ({}, {})
    timed = {each.batch_size for each in a.timings} & {each.batch_size for each in b.timings}
    n = 1 + len(timed) + 2 * len(_sizes(*met)) + len(_sizes(*ends))
    confidence = 1 - _MISSES / n
    wider = float(ndtri((1 + confidence) / 2) / ndtri(1 - _MISSES / 2))
    step_s = [side.step_s(wider) for side in (a, b)]
    steps = _steps(met, confidence)
    times = [
        {key: _times(n, alone[key[0], None]) for key, n in one.items() if (key[0], None) in alone}
        for one, alone in zip(steps, step_s, strict=True)
    ]
    yield from _and_all(_ratios("step_s", *step_s))
    yield from _and_all(_ratios("steps_to_target", *steps))
    yield from _and_all(_ratios("time_to_target_s", *times))
    yield from _and_all(_at_the_end(a, b, *ends, confidence))
    yield from _and_all(_ratios("peak_bytes", a.peak_bytes, b.peak_bytes), confidence)


def _steps(
    met: Sequence[Mapping[Key, Sequence[Crossing]]], confidence: float
) -> list[dict[Key, Estimate]]:
    """Return the steps to a target for each side, by batch size and rate."""
    cells = [(side, key) for side, crossings in enumerate(met) for key in crossings]
    logs = [[math.log(each.middle) for each in met[side][key]] for side, key in cells]
    means = CellMeans.of_steps(logs)
    steps: list[dict[Key, Estimate]] = [{} for _ in met]
    for i, (side, key) in enumerate(cells):
        known = means.mean(i, confidence=confidence)
        # The crossing lies anywhere between two evaluations, for all seeds perhaps at one end.
        mark = max(math.log(each.step / each.least) for each in met[side][key]) / 2
        half = None if known.high is None else math.hypot(known.high - fmean(logs[i]), mark)
        steps[side][key] = Estimate.of_log(fmean(logs[i]), half, n=known.n)
    return steps


def _sizes(a: Mapping[Key, Any], b: Mapping[Key, Any]) -> list[int]:
    """Return the batch sizes that both sides have."""
    return sorted({size for size, _ in a} & {size for size, _ in b})


def _pairs(a: Mapping[Key, T], b: Mapping[Key, T], worth: Callable[[T], float]) -> Iterator[Pair]:
    """Yield for each batch size the best shared rate, or if there is none, each side's best rate.

    A rate chosen by only one of the sides would look better there than it is.
    """

    def together(pair: Pair) -> tuple[bool, float]:
        return pair[0] == pair[1], worth(a[pair[0]]) + worth(b[pair[1]])

    for size in _sizes(a, b):
        yield max(((x, y) for x in a for y in b if x[0] == y[0] == size), key=together)


def _ratios(quantity: str, a: dict[Key, Estimate], b: dict[Key, Estimate]) -> list[Figure]:
    """Return the figures of a quantity that is above 0 and better when lower."""
    return [
        Figure(
            quantity=quantity,
            batch_size=x[0],
            learning_rates=(x[1], y[1]),
            a=a[x],
            b=b[y],
            change=_times(b[y], a[x], -1),
            is_ratio=True,
        )
        for x, y in _pairs(a, b, lambda known: -_log(known))
    ]


def _at_the_end(a: Side, b: Side, ours: Ends, theirs: Ends, confidence: float) -> list[Figure]:
    """Return the figures of the metric at the end of whole trainings."""
    if a.study is None or b.study is None:
        return []
    metric = a.study.workload.metrics[0]
    sign = 1 if metric.better == "higher" else -1
    cells = [values for one in (ours, theirs) for _, values in one.values()]
    n_examples = min(side.study.workload.n_validation or 0 for side in (a, b) if side.study)
    means = CellMeans.of(
        cells,
        metric=metric.name,
        better=metric.better,
        n_examples=n_examples or None,
        end_errors=end_errors((*a.runs, *b.runs), metric.name),
    )
    at = {("a", key): i for i, key in enumerate(ours)}
    at |= {("b", key): len(ours) + i for i, key in enumerate(theirs)}
    return [
        Figure(
            quantity=metric.name,
            batch_size=x[0],
            learning_rates=(x[1], y[1]),
            epochs=(ours[x][0], theirs[y][0]),
            a=means.mean(at["a", x], confidence=confidence),
            b=means.mean(at["b", y], confidence=confidence),
            change=means.difference(at["b", y], at["a", x], confidence=confidence),
            is_ratio=False,
        )
        for x, y in _pairs(ours, theirs, lambda end: sign * fmean(end[1]))
    ]


def _and_all(rows: list[Figure], confidence: float | None = None) -> Iterator[Figure]:
    """Yield the rows of a quantity, then the mean of its changes.

    The bounds of the mean are the means of the rows' bounds, because the state of a machine affects
    all batch sizes. With a confidence they come from the scatter: a single peak shows none.
    """
    yield from rows
    values, lows, highs = (
        [x for row in rows if (x := getattr(row.change, part)) is not None]
        for part in ("estimate", "low", "high")
    )
    if not rows:
        return
    mean = geometric_mean if rows[0].is_ratio else fmean
    interval = (mean(lows), mean(highs)) if len(lows) == len(rows) else (None, None)
    if confidence is not None:
        logs = mean_interval([math.log(value) for value in values], confidence=confidence)
        if logs.low is not None and logs.high is not None:
            interval = math.exp(logs.low), math.exp(logs.high)
    change = Estimate.of(mean(values), interval=interval, n=len(rows))
    yield Figure(
        quantity=rows[0].quantity, batch_size=None, change=change, is_ratio=rows[0].is_ratio
    )


# ---- in words


def comparison_section(found: Comparison) -> Section:
    """Return what differs, first in a sentence and then as a table."""
    return Section(title=_lead(found), facts=tuple(_facts(found)), table=_table(found))


def _lead(found: Comparison) -> str:
    by_quantity = [[*rows] for _, rows in groupby(found.figures, lambda row: row.quantity)]
    said = [_difference(rows) for rows in by_quantity if any(r.verdict == "differs" for r in rows)]
    verdicts = {figure.verdict for figure in found.figures}
    if said:
        is_told = all(any(r.verdict != "cannot_tell" for r in rows) for rows in by_quantity)
        is_rest = is_told and len(said) < len(by_quantity)
        rest = text("; nothing else that was measured differs beyond noise") if is_rest else ""
        return f"{capitalized(listing(said))}{rest}."
    if "within_noise" in verdicts:
        return text("Nothing that was measured differs beyond noise.")
    if verdicts:
        return text("Nothing can be told from noise: that takes two runs or more of each.")
    return text("Nothing was measured of the same batch size in both A and B.")


_CHANGES = {
    "step_s": "B's steps take {change} times as long{interval} {where}",
    "steps_to_target": "B takes {change} times as many steps to the target{interval} {where}",
    "time_to_target_s": "B takes {change} times as long to the target{interval} {where}",
    "peak_bytes": "B takes {change} times as much memory{interval} {where}",
}
_AT_THE_END = "B's {quantity} at the end differs by {change}{interval} {where}"


def _difference(rows: Sequence[Figure]) -> str:
    """Say how a quantity differs and where, with one change if that explains all batch sizes."""
    *sizes, overall = rows
    told = [row for row in sizes if row.verdict != "cannot_tell"]
    shown = [row for row in told if row.verdict == "differs"]
    but = [str(row.batch_size) for row in told if row.verdict != "differs"]
    there = [str(row.batch_size) for row in shown]
    if not shown:
        shown, where = [overall], text("over all batch sizes")
    elif len(shown) > max(1, len(but)):
        where = text("at every batch size")
        where += text(" but {sizes}", sizes=listing(but)) if but else ""
        if not but and all(row.change.holds(_value(overall)) for row in shown):
            shown = [overall]
    else:
        where = plural("at batch size {of}", "at batch sizes {of}", len(there), of=listing(there))
    least, most = (pick(shown, key=_value) for pick in (min, max))
    interval = interval_only_text(_form(least), least.change)
    return text(
        _CHANGES.get(overall.quantity, _AT_THE_END),
        quantity=label_text(overall.quantity),
        change=quantity_text(_form(least), _value(least)) if least is most else _range(least, most),
        interval=text(" ({interval})", interval=interval) if len(shown) == 1 else "",
        where=where,
    )


def _value(row: Figure) -> float:
    return row.change.estimate or 0.0


def _range(least: Figure, most: Figure) -> str:
    low, high = (quantity_text(_form(row), row.change.estimate) for row in (least, most))
    at, to = least.batch_size, most.batch_size
    return text("{low} (at {at}) to {high} (at {to})", low=low, high=high, at=at, to=to)


def _form(row: Figure) -> str:
    return "ratio" if row.is_ratio else row.quantity


def _facts(found: Comparison) -> Iterator[str]:
    differing = {row.quantity for row in found.figures if row.verdict == "differs"}
    names = [each.name for each in found.settings if not each.name.startswith(_OF_RUNS)]
    if _IDENTITY in names:
        yield text("They are not the same workload: code, data or settings differ.")
    elif not names:
        yield text("Workload, machine and versions are the same.")
        if "step_s" in differing:
            yield text("So the machine was slower during one of them: profile both again, in turn.")
    if found.target is not None:
        metric, value = found.target.metric, quantity_text(found.target.metric, found.target.value)
        yield text("Steps and time are to {metric} {value}.", metric=metric, value=value)
    if found.n_shared:
        message = "{n} runs and timings are in both, as one store does no work twice."
        yield text(message, n=found.n_shared)


def _table(found: Comparison) -> Table:
    """Return one row per setting that differs, then one per figure of each batch size."""
    rows: list[tuple[Value, ...]] = [(s.name, "", s.a, s.b, "", "") for s in found.settings]
    for row in found.figures:
        figures = (_figure_text(row, known) for known in (row.a, row.b))
        rows.append((label_text(row.quantity), _size_text(row), *figures, *_change_cells(row)))
    caption = text(
        "A is {a}, B is {b}. In 95 of 100 comparisons all intervals hold at once.",
        a=found.a,
        b=found.b,
    )
    headers = ("what", "batch size", "A", "B", "B to A", "beyond noise")
    return Table(caption=caption, columns=tuple(map(Column, headers)), rows=tuple(rows))


def _figure_text(row: Figure, known: Estimate | None) -> str:
    if known is None:
        return ""
    shown = quantity_text(row.quantity, known.estimate)
    is_of_runs = row.learning_rates != (None, None)
    return text("{shown} (n {n})", shown=shown, n=known.n) if is_of_runs else shown


def _size_text(row: Figure) -> str:
    """Return the batch size with its rate and epochs, of both sides if they differ."""
    said = [text("all") if row.batch_size is None else number_text(row.batch_size, "")]
    rates, epochs = (
        " / ".join(dict.fromkeys(number_text(x, form) for x in pair if x is not None))
        for pair, form in ((row.learning_rates, "rate"), (row.epochs, ".3g"))
    )
    said += [text("at {rates}", rates=rates)] if rates else []
    said += [text("for {epochs} epochs", epochs=epochs)] if epochs else []
    return " ".join(said)


def _change_cells(row: Figure) -> tuple[str, str]:
    """Return the change with its interval, and whether it is more than noise."""
    change = quantity_text(_form(row), row.change.estimate)
    if row.verdict == "cannot_tell":
        return change, text("can't be told")
    interval = interval_only_text(_form(row), row.change)
    return f"{change} ({interval})", text("yes") if row.verdict == "differs" else text("no")
