"""The figures of an advice by batch size: the objective, steps, machine, learning rates."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from batchlab.advice.advice import Advice, Candidate, RateTried
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate
from batchlab.records.study import USUAL_SIZES, Study
from batchlab.report.advice_rows import (
    RunFigure,
    ShownCost,
    is_raced,
    named_cost,
    own_cost,
    reference_runs,
    run_figures,
    runs_of,
    single_runs,
)
from batchlab.report.advice_tables import candidates_table
from batchlab.report.advice_words import (
    is_same,
    named_text,
    objective_words,
    ratio_text,
    reference_text,
    share_text,
)
from batchlab.report.chart import (
    Plot,
    chart_text,
    drawn_looks,
    rate_axis,
    size_panel,
    value_axis,
)
from batchlab.report.figure import Figure, Panel, Row, estimate_row, rounded
from batchlab.report.palette import Look, Part, part_looks
from batchlab.report.profile import step_time_text
from batchlab.report.table import Column, Table, table_of
from batchlab.report.text import estimate_text, label_text, quantity_text
from batchlab.words.catalogue import capitalized, text
from batchlab.words.reasons import reason_text

if TYPE_CHECKING:
    import altair as alt


def advice_looks(advice: Advice, study: Study) -> tuple[Look, ...]:
    """How the batch sizes are drawn of which anything was measured: by their part."""
    sizes = [
        candidate.batch_size
        for candidate in advice.candidates
        if candidate.step_s.estimate is not None or candidate.peak_bytes is not None
    ]
    sizes += [tried.batch_size for tried in advice.tried]
    named = advice.named
    return part_looks(
        [*sizes, advice.reference.batch_size],
        n_train=study.workload.n_train,
        named=None if named is None else named.batch_size,
        yours=advice.reference.batch_size,
        usual=USUAL_SIZES,
    )


def named_looks(advice: Advice, looks: Iterable[Look]) -> list[tuple[Look, str]]:
    """One look a part, with the part's name and its batch sizes: "usual: 16, 32, 128"."""
    names: dict[Part, str] = {
        "named": named_text(advice),
        "yours": reference_text(advice, "short"),
        "usual": text("usual"),
        "other": text("others"),
    }
    together = {part: [look for look in looks if look.part == part] for part in names}
    return [
        (
            found[0],
            text(
                "{part}: {sizes}",
                part=names[part],
                sizes=", ".join(look.label for look in found),
            ),
        )
        for part, found in together.items()
        if found
    ]


def size_fields(looks: Iterable[Look], batch_size: int, panel: str) -> Row:
    """The fields of a row of a batch size."""
    label = next(look.label for look in looks if look.batch_size == batch_size)
    return {"panel": panel, "batch_size": batch_size, "batch": label}


def _with_sides(rows: Sequence[Row], looks: Sequence[Look]) -> tuple[Row, ...]:
    """The rows with words told on which side of their batch size these stay inside the chart."""
    sizes = [look.batch_size for look in drawn_looks(looks, rows)]
    edges: dict[object, str] = {sizes[0]: "left", sizes[-1]: "right"}

    def side(row: Row) -> str | None:
        if row["kind"] == "named":  # in the middle of its mark where it has room
            return edges.get(row["batch_size"])
        return "left" if row["batch_size"] in sizes[: (len(sizes) + 1) // 2] else "right"

    return tuple({**row, "side": side(row)} if "text" in row else row for row in rows)


def _own_kind(candidate: Candidate) -> str:
    """How a batch size's estimate is drawn: hollow where it was not trained itself."""
    return "open" if candidate.learning_rate is None else "point"


def objective_figure(advice: Advice, study: Study) -> Figure:
    """Time (samples, or for quality the metric) by batch size, with the flat set."""
    words, looks = objective_words(advice), advice_looks(advice, study)
    rows = tuple(_objective_rows(advice, looks))
    rows = _with_sides((*rows, *(_named_rows(advice, looks) if rows else ())), looks)
    # Words at the top need room where the best lies there; what is named for now may lie anywhere.
    is_for_now = advice.recommendation is None and advice.provisional is not None
    inside = [str(c.batch_size) for c in advice.candidates if c.in_flat_set] or [text("none")]
    panel = size_panel(
        rows,
        looks,
        "a-objective",
        words.quantity,
        words.figure,
        above=0.1 if words.better == "higher" or is_for_now else 0.05,
        said=[text("In the flat set: {inside}", inside=", ".join(inside))],
    )
    return Figure(
        key="a",
        name="objective",
        title=text("{figure} by batch size", figure=capitalized(words.figure)),
        notes=tuple(_objective_notes(advice, rows)),
        nothing=text("No batch size has a figure: no run with a tuned rate gave one."),
        panels=(panel,) if rows else (),
        data="objective",
        rows=rows,
        looks=looks,
        table=candidates_table(advice),
    )


_EDGE = 2**0.25  # how far the shade reaches beyond the batch sizes inside: an interval may hold one


def _objective_rows(advice: Advice, looks: tuple[Look, ...]) -> Iterator[Row]:
    words, panel = objective_words(advice), "a-objective"
    # The flat set, each span without a batch size in between that is not in it.
    sizes = [candidate.batch_size for candidate in advice.candidates]
    for is_flat, found in itertools.groupby(sizes, advice.flat_set.__contains__):
        together = list(found)
        if is_flat:
            span: Row = {"panel": panel, "kind": "span", "batch_size": together[0] / _EDGE}
            yield {**span, "to_size": together[-1] * _EDGE}
    known = [c for c in advice.candidates if c.cost.estimate is not None]
    for candidate in known:
        row = size_fields(looks, candidate.batch_size, panel)
        row |= estimate_row(words.shown_estimate(candidate.cost))
        yield {**row, "kind": "band", "series": "measured"}
        yield {**row, "kind": _own_kind(candidate)}
    for candidate in advice.candidates:
        if candidate in known:
            continue  # an estimate stands for its runs
        for run in run_figures(advice, candidate, single_runs(advice, candidate)):
            yield {**size_fields(looks, candidate.batch_size, panel), **_run_row(run, "run")}
    own = reference_runs(advice)
    base = size_fields(looks, advice.reference.batch_size, panel)
    for run in own:
        yield {**base, **_run_row(run, "as_is")}
    if own:
        yours = _with_value(advice, reference_text(advice, "short"), own_cost(advice))
        highest = max(run.shown for run in own)
        yield {**base, "kind": "words", "mean": rounded(highest), "text": yours}


def _run_row(run: RunFigure, kind: str) -> Row:
    return {"kind": "bound" if run.is_bound else kind, "mean": rounded(run.shown)}


def _named_rows(advice: Advice, looks: tuple[Look, ...]) -> Iterator[Row]:
    """What the answer names: its figure in a ring, with its name and value."""
    found, cost = advice.named, named_cost(advice)
    if found is None:
        return
    base = size_fields(looks, found.batch_size, "a-objective")
    if cost is not None and not cost.runs:
        kind = "verified" if cost.is_verified else "ring"
        yield {**base, "kind": kind, **estimate_row(cost.estimate)}
    for run in () if cost is None else cost.runs:
        yield {**base, "kind": "ring", "mean": rounded(run.shown)}
    if is_same(found, advice.reference):
        return
    named = named_text(advice)
    if cost is None:
        yield {**base, "kind": "place", "text": named}
    else:
        highest = max((run.shown for run in cost.runs), default=cost.value)
        label = _with_value(advice, named, cost)
        yield {**base, "kind": "named", "mean": rounded(highest), "text": label}


def _with_value(advice: Advice, name: str, cost: ShownCost | None) -> str:
    """A name with its figure, "yours: 13.2 s", the same as in the table."""
    if cost is None:
        return name
    return text("{name}: {value}", name=name, value=cost.text(objective_words(advice).quantity))


def _objective_notes(advice: Advice, rows: tuple[Row, ...]) -> Iterator[str]:
    yield from kind_notes(advice, rows)
    if advice.flat_set:
        yield text(
            "Shaded: the flat set. There the ratio to {best} is at most 1 + {share}, with "
            "95 % confidence for all batch sizes at once (“at most” in the table).",
            best=objective_words(advice).within,
            share=share_text(advice.delta),
        )


# How the rows of a kind are read.
_READ = {
    "point": (
        "Large marks: the estimate of each batch size at its tuned rate, from seeds that did not "
        "choose it, with its 95 % interval."
    ),
    "open": "Hollow: not trained itself, read off the fitted curve.",
    "as_is": "×: {yours}, at its own learning rate, one mark a seed.",
    "ring": "A ring marks what is chosen, or best so far.",
    "verified": (
        "The ring with a bar is what was found on fresh seeds, after all choices were made, "
        "with its 95 % interval. The point beside it is the estimate before."
    ),
    "bound": "↑: a run that had not reached the target by then; its figure is larger than this.",
    "lost": "× at the top: a run that diverged or failed (at most six are drawn at one rate).",
}


def kind_notes(advice: Advice, rows: Iterable[Row]) -> Iterator[str]:
    """How the rows of each kind are read."""
    kinds = {row["kind"] for row in rows}
    yours = reference_text(advice, "configuration")
    yield from (text(note, yours=yours) for kind, note in _READ.items() if kind in kinds)
    if "run" in kinds and is_raced(advice):
        yield text("Small circles: single runs, at the rates that raced.")
    elif "run" in kinds:
        yield text("Small circles: single runs.")


def steps_figure(advice: Advice, study: Study) -> Figure:
    """Steps to target by batch size at the tuned rates, with the law fitted to them."""
    looks = advice_looks(advice, study)
    rows = tuple(_steps_rows(advice, looks)) if advice.target is not None else ()
    rows = _with_sides(rows, looks) if is_raced(advice) else rows
    nothing = text("No run with a tuned rate reached the target.")
    if advice.target is None:
        nothing = text("There is no target: every batch size got the same fixed run.")
    title = label_text("steps_to_target")
    panel = size_panel(rows, looks, "b-steps", "steps_to_target", title)
    return Figure(
        key="b",
        name="steps",
        title=text("Steps to target by batch size"),
        notes=tuple(_steps_notes(advice, rows)),
        nothing=nothing,
        panels=(panel,) if rows else (),
        data="steps",
        rows=rows,
        looks=looks,
        table=_steps_table(advice),
    )


def _steps_rows(advice: Advice, looks: tuple[Look, ...]) -> Iterator[Row]:
    laws, panel = advice.laws, "b-steps"
    if laws is not None:
        sizes = [size for size, _ in laws.curve]
        low, high = laws.b_crit.low, laws.b_crit.high
        places = _place_rows(laws.b_crit, sizes, panel, label_text("critical_batch_size"))
        yield from _band_rows(laws.curve, panel)
        if places and low is not None and high is not None:
            span: Row = {"panel": panel, "kind": "span", "batch_size": max(low, sizes[0] / 1.4)}
            yield {**span, "to_size": min(high, sizes[-1] * 1.4)}
        yield from places
    for candidate in advice.candidates:
        if candidate.steps_to_target.estimate is not None:
            base = size_fields(looks, candidate.batch_size, panel)
            kind = _own_kind(candidate)
            yield {**base, "kind": kind, **estimate_row(candidate.steps_to_target)}
        for tried in single_runs(advice, candidate):
            if tried.steps_to_target is not None or tried.steps:
                yield {**size_fields(looks, tried.batch_size, panel), **_steps_row(tried, "run")}
    if is_raced(advice):  # then the reference as it is, beside which the others ran
        reference = advice.reference
        base = size_fields(looks, reference.batch_size, panel)
        runs = list(runs_of(advice, reference.batch_size, reference.learning_rate))
        yield from ({**base, **_steps_row(tried, "as_is")} for tried in runs)
        if runs:
            highest = max(rounded(tried.steps_to_target or tried.steps) for tried in runs)
            own = reference_text(advice, "configuration")
            yield {**base, "kind": "words", "mean": highest, "text": own}


def _steps_row(tried: RateTried, kind: str) -> Row:
    if tried.steps_to_target is None:
        return {"kind": "bound", "mean": tried.steps}
    return {"kind": kind, "mean": rounded(tried.steps_to_target)}


def _band_rows(curve: Iterable[tuple[int, Estimate]], panel: str) -> Iterator[Row]:
    """The line and the band of a law."""
    for batch_size, value in curve:
        if value.estimate is not None:
            law: Row = {"panel": panel, "kind": "band", "series": "law", "batch_size": batch_size}
            yield {**law, **estimate_row(value)}


def _place_rows(found: Estimate, sizes: Sequence[int], panel: str, words: str) -> list[Row]:
    """A batch size that a law tells, where it lies within the axis."""
    size = found.estimate
    if size is None or not sizes or not sizes[0] <= size <= sizes[-1]:
        return []
    side = "left" if size**2 < sizes[0] * sizes[-1] else "right"
    return [{"panel": panel, "kind": "place", "batch_size": size, "text": words, "side": side}]


def _steps_notes(advice: Advice, rows: tuple[Row, ...]) -> Iterator[str]:
    yield from kind_notes(advice, rows)
    laws = advice.laws
    if laws is None or not laws.curve:
        yield text("No law was fitted.")
    elif laws.law_holds:
        yield text("Line and band: a law fitted to the points. It is told under For researchers.")
    else:
        yield text(
            "Line and band: the measured points, joined. The line rises only where the points rise "
            "by more than their scatter."
        )


def _steps_table(advice: Advice) -> Table:
    caption, laws = text("Steps to target at the tuned rate, with 95 % intervals"), advice.laws
    if laws is not None:
        size = estimate_text("critical_batch_size", laws.b_crit)
        caption += text("; critical batch size {size}", size=size)
    quantity = "steps_to_target"
    return table_of(
        caption,
        advice.candidates,
        Column("batch_size"),
        Column("learning_rate"),
        Column("n_runs", "n", text("runs")),
        Column(quantity, of=lambda c: c.steps_to_target.estimate),
        Column("low", quantity, text("from"), of=lambda c: c.steps_to_target.low),
        Column("high", quantity, text("to"), of=lambda c: c.steps_to_target.high),
        Column("samples_to_target", of=lambda c: c.samples_to_target.estimate),
        Column("note", "", text("note"), of=lambda c: reason_text(c.note)),
    ).without_empty_columns()


def machine_figure(advice: Advice, study: Study, profile: Profile | None) -> Figure:
    """Time per step and peak memory by batch size, with the limit that the profile was given."""
    looks = advice_looks(advice, study)
    limit_bytes = None if profile is None else profile.memory_limit_bytes
    by_panel = {
        "step_s": tuple(_step_time_rows(advice, looks)),
        "peak_bytes": tuple(_memory_rows(advice, looks, limit_bytes)),
    }
    return Figure(
        key="c",
        name="machine",
        title=text("Time per step and memory by batch size"),
        notes=tuple(_machine_notes(advice, profile)),
        nothing=text("No batch size ran, so neither time nor memory is known."),
        panels=tuple(
            size_panel(rows, looks, f"c-{name}", name, label_text(name))
            for name, rows in by_panel.items()
            if rows
        ),
        data="machine",
        rows=tuple(row for rows in by_panel.values() for row in rows),
        looks=looks,
        table=_machine_table(advice),
    )


def _step_time_rows(advice: Advice, looks: tuple[Look, ...]) -> Iterator[Row]:
    laws, panel = advice.laws, "c-step_s"
    curve = () if laws is None else laws.step_curve
    yield from _band_rows(curve, panel)
    if laws is not None:
        sizes = [size for size, _ in curve]
        yield from _place_rows(laws.knee_batch_size, sizes, panel, text("knee"))
    for candidate in advice.candidates:
        if candidate.step_s.estimate is not None:
            row = size_fields(looks, candidate.batch_size, panel) | estimate_row(candidate.step_s)
            if not curve:
                yield {**row, "kind": "band", "series": "measured"}
            yield {**row, "kind": "point"}


def _memory_rows(advice: Advice, looks: tuple[Look, ...], limit_bytes: int | None) -> Iterator[Row]:
    laws, panel = advice.laws, "c-peak_bytes"
    known = [c for c in advice.candidates if c.peak_bytes is not None]
    for candidate in known:
        peak = candidate.peak_bytes
        row: Row = {"kind": "point", "mean": peak, "low": peak, "high": peak, "n": 1}
        yield {**size_fields(looks, candidate.batch_size, panel), **row}
    if known and limit_bytes is not None:
        words = text("limit {limit}", limit=quantity_text("peak_bytes", limit_bytes))
        yield {"panel": panel, "kind": "level", "mean": limit_bytes, "text": words}
    fixed = None if laws is None else laws.fixed_bytes.estimate
    slope = None if laws is None else laws.bytes_per_example.estimate
    if known and fixed is not None and slope is not None:
        for look in looks:
            on_law = fixed + slope * look.batch_size
            if on_law > 0:
                law: Row = {"panel": panel, "kind": "rule", "series": "law"}
                yield {**law, "batch_size": look.batch_size, "mean": rounded(on_law)}


def _machine_notes(advice: Advice, profile: Profile | None) -> Iterator[str]:
    where = "" if profile is None else text(" on {device}", device=profile.device_name)
    yield text(
        "Each batch size ran alone{where}. Marks are its time per step, bars the 95 % interval. "
        "Both use its own steps and what all batch sizes show together.",
        where=where,
    )
    laws = advice.laws
    if laws is not None and laws.step_curve:
        told = step_time_text(
            overhead_s=laws.step_overhead_s,
            s_per_example=laws.step_s_per_example,
            knee=laws.knee_batch_size,
        )
        yield text("Line and band: the law of the step time, {told}.", told=told)
    if laws is not None and laws.bytes_per_example.estimate is not None:
        yield text(
            "Memory is the peak above an idle process. Dashed: the fitted law, {fixed} and "
            "{slope} for each example of the batch.",
            fixed=estimate_text("peak_bytes", laws.fixed_bytes),
            slope=estimate_text("peak_bytes", laws.bytes_per_example),
        )
    if profile is not None and profile.memory_limit_bytes is not None:
        limit = quantity_text("peak_bytes", profile.memory_limit_bytes)
        yield text("The memory limit that was asked for is {limit}.", limit=limit)
    split = [
        text("{size} in micro-batches of {micro}", size=c.batch_size, micro=c.micro_batch_size)
        for c in advice.candidates
        if c.micro_batch_size < c.batch_size
    ]
    if split:
        yield text("Measured in micro-batches, so below the law: {sizes}.", sizes=", ".join(split))


def _machine_table(advice: Advice) -> Table:
    def per_s(candidate: Candidate) -> float | None:
        step_s = candidate.step_s.estimate
        return candidate.batch_size / step_s if step_s else None

    return table_of(
        text("Time per step with its 95 % interval, throughput and peak memory"),
        advice.candidates,
        Column("batch_size"),
        Column("micro_batch_size", "batch_size", text("micro-batch size")),
        Column("step_s", of=lambda c: c.step_s.estimate),
        Column("step_s_low", "step_s", text("from"), of=lambda c: c.step_s.low),
        Column("step_s_high", "step_s", text("to"), of=lambda c: c.step_s.high),
        Column("samples_per_s", of=per_s),
        Column("peak_bytes"),
        Column("fits", "", text("fits"), of=lambda c: text("yes") if c.fits else text("no")),
    ).without_empty_columns()


_WENT_WRONG = ("diverged", "nan", "oom", "killed", "error")
_MOST_CROSSES = 6  # at one rate: more of them above each other would hide the basins


def learning_rates_figure(advice: Advice, study: Study) -> Figure:
    """Steps to target by learning rate for every batch size; tuned rates beside the rules'."""
    looks = advice_looks(advice, study)
    basin, tuned = list(_basin_rows(advice, looks)), list(_tuned_rows(advice, looks))
    panels = []
    if any(row["kind"] == "run" for row in basin):
        chosen = [
            f"{c.batch_size}: {quantity_text('learning_rate', c.learning_rate)}"
            for c in advice.candidates
            if c.learning_rate is not None
        ]
        title = text("steps to target by learning rate")
        panels.append(
            Panel(
                key="d-basin",
                title=title,
                alternative=chart_text(
                    label_text("steps_to_target"),
                    "learning_rate",
                    [text("Chosen: {chosen}", chosen=", ".join(chosen))],
                ),
                plot=lambda: _basin_chart(basin, looks),
            )
        )
    if tuned:
        rules = [
            f"{row['series']} {row['batch_size']}: {quantity_text('learning_rate', row['mean'])}"
            for row in tuned
            if row["kind"] == "rule"
        ]
        panels.append(
            size_panel(
                tuned,
                looks,
                "d-tuned",
                "learning_rate",
                text("tuned learning rate by batch size"),
                what=text("tuned learning rate"),
                said=rules,
            )
        )
    nothing = text("There is no target, so there are no steps to it.")
    if advice.target:
        nothing = text("No run at any learning rate reached the target.")
    return Figure(
        key="d",
        name="learning-rates",
        title=text("The learning rate of each batch size"),
        notes=tuple(_rate_notes(advice, basin, tuned)),
        nothing=nothing,
        panels=tuple(panels),
        data="rates",
        rows=(*basin, *tuned),
        looks=looks,
        table=_rates_table(advice),
    )


def _basin_chart(rows: list[Row], looks: tuple[Look, ...]) -> alt.LayerChart:
    quantity = "steps_to_target"
    x = rate_axis(float(row["learning_rate"] or 0.0) for row in rows)
    y = value_axis(quantity, rows)
    plot = Plot({"panel": "d-basin"}, quantity, looks, x=x, y=y)
    return plot.drawn(
        plot.lines(),
        plot.runs(),
        plot.bounds(),
        plot.rings(kind="ring"),
        plot.words(),
        at_the_edge=plot.lost("top"),
    )


def _basin_rows(advice: Advice, looks: tuple[Look, ...]) -> Iterator[Row]:
    lost: dict[float, int] = {}
    by_cell: dict[tuple[int, float], list[float]] = {}
    labels = {look.batch_size: look.label for look in looks}
    for tried in advice.tried:
        if tried.purpose == "cool_down":
            continue
        batch_size, rate, steps = tried.batch_size, tried.learning_rate, tried.steps_to_target
        base: Row = {"panel": "d-basin", "batch": labels[batch_size], "learning_rate": rate}
        # A run that missed counts as a long one, or its rate would look better than it is.
        by_cell.setdefault((batch_size, rate), []).append(math.inf if steps is None else steps)
        if steps is not None:
            yield {**base, "kind": "run", "mean": rounded(steps)}
        elif tried.status in _WENT_WRONG:
            place = lost.get(rate, 0)
            lost[rate] = place + 1
            if place < _MOST_CROSSES:
                yield {**base, "kind": "lost", "place": place}
        elif tried.steps and advice.target is not None:
            yield {**base, "kind": "bound", "mean": tried.steps}
    ends: dict[int, Row] = {}
    for (batch_size, rate), found in sorted(by_cell.items()):
        middle = statistics.median(found)
        if not math.isfinite(middle):
            continue
        at: Row = {"panel": "d-basin", "learning_rate": rate, "mean": rounded(middle)}
        ends[batch_size] = {**at, "batch": labels[batch_size]}
        yield {**ends[batch_size], "kind": "line"}
        own = advice.candidate(batch_size)
        if own is not None and own.learning_rate == rate:
            yield {**at, "kind": "ring"}
    for at in ends.values():  # colors tell parts: the batch size stands at the end of its line
        yield {**at, "kind": "words", "text": at["batch"], "side": "left"}


def _tuned_rows(advice: Advice, looks: tuple[Look, ...]) -> Iterator[Row]:
    tuned = [c for c in advice.candidates if c.learning_rate is not None]
    for candidate in tuned:
        rate = candidate.learning_rate
        row: Row = {"mean": rate, "low": rate, "high": rate, "n": candidate.n_runs}
        yield {**size_fields(looks, candidate.batch_size, "d-tuned"), "kind": "point", **row}
        # Of one batch size alone every rule says the same: their names lie on top of each other.
        for rule, rule_rate in candidate.rule_learning_rates if len(tuned) > 1 else ():
            yield {
                "panel": "d-tuned",
                "kind": "rule",
                "series": rule,
                "batch_size": candidate.batch_size,
                "mean": rounded(rule_rate),
                "text": rule if candidate is tuned[-1] else None,
            }


def _rate_notes(advice: Advice, basin: list[Row], tuned: list[Row]) -> Iterator[str]:
    yield from kind_notes(advice, basin)
    if any(row["kind"] == "line" for row in basin):
        yield text("Lines join the medians; a run that missed the target counts as a long one.")
    if any(row["kind"] == "rule" for row in tuned):
        yield text(
            "Dashed: what the scaling rules set from the tuned rate of {batch_size}. A rate is "
            "tuned to about a factor of two, so points near a line agree with it.",
            batch_size=reference_text(advice, "batch_size"),
        )


def _rates_table(advice: Advice) -> Table:
    """The tuned rate of each batch size beside what each rule sets."""
    rules = dict.fromkeys(rule for c in advice.candidates for rule, _ in c.rule_learning_rates)
    tried = {
        c.batch_size: [t for t in advice.tried if t.batch_size == c.batch_size]
        for c in advice.candidates
    }

    def column(rule: str) -> Column:
        def value(candidate: Candidate) -> str:
            rate, tuned = dict(candidate.rule_learning_rates).get(rule), candidate.learning_rate
            told = "" if rate is None else quantity_text("learning_rate", rate)
            return f"{told} (× {ratio_text(rate / tuned)})" if rate and tuned else told

        return Column(rule, "", text("rule {name}", name=rule), of=value)

    def n(key: str, label: str, count: Callable[[list[RateTried]], int]) -> Column:
        return Column(key, "n", label, of=lambda c: count(tried[c.batch_size]))

    return table_of(
        text("The tuned learning rate, and what scaling rules set (as multiples of it)"),
        advice.candidates,
        Column("batch_size"),
        Column("learning_rate", label=text("tuned rate")),
        *map(column, rules),
        n("n_rates", text("rates tried"), lambda runs: len({t.learning_rate for t in runs})),
        n("n_runs", text("runs"), len),
        n(
            "n_missed",
            text("missed or failed"),
            lambda runs: sum(t.steps_to_target is None for t in runs),
        ),
    ).without_empty_columns()
