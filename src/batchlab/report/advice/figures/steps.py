"""Figure (b): steps to target by batch size, the points that were measured and the fitted law."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.advice.advice import Advice, Candidate, Laws
from batchlab.records.study import Study
from batchlab.report.advice_rows import (
    advice_looks,
    candidate_kind,
    drawn_looks,
    is_raced,
    kinds_of,
    label_of,
    runs_in_words,
    runs_of,
    single_runs,
    with_sides,
)
from batchlab.report.advice_words import reference_words
from batchlab.report.parts.charts.axes import ratio_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, estimate_row, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import estimate_text, label_text
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text


def steps_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """Steps to target by batch size at the tuned rates, with the law fitted to them."""
    rows = tuple(_rows(advice, study))
    measured = [c for c in advice.candidates if c.steps_to_target.estimate is not None]
    looks = drawn_looks(advice_looks(advice, study), rows)
    if is_raced(advice):
        rows = with_sides(rows, looks)
    absent = None
    if advice.target is None:
        absent = text("There is no target: every batch size got the same fixed run.")
    elif not rows:
        absent = text("No run with a tuned rate reached the target.")
    panel = Panel(
        key=f"{key}-steps",
        title=label_text("steps_to_target"),
        alternative=_words(measured, rows),
        plot=partial(
            chart,
            "steps",
            where=in_panel("steps"),
            x=partial(batch_size_x, looks),
            y=partial(ratio_y, "steps_to_target", rows_domain(rows)),
            name="steps_to_target",
            kinds=kinds_of(rows),
            looks=looks,
        ),
    )
    return Figure(
        key=key,
        title=text("Steps to target by batch size"),
        notes=tuple(_notes(advice, rows)),
        absent=absent,
        panels=() if absent else (panel,),
        data="steps",
        rows=rows,
        table=_table(advice),
    )


def _words(measured: list[Candidate], rows: tuple[Row, ...]) -> str:
    values = [
        f"{c.batch_size}: {estimate_text('steps_to_target', c.steps_to_target)}" for c in measured
    ]
    values += runs_in_words(rows, "steps_to_target")
    return text("Chart of steps to target against batch size. {values}.", values="; ".join(values))


def _rows(advice: Advice, study: Study) -> Iterator[Row]:
    looks = advice_looks(advice, study)
    if advice.target is None:
        return
    laws = advice.laws
    if laws is not None:
        for batch_size, steps in laws.curve:
            if steps.estimate is not None:
                row: Row = {"batch_size": batch_size, **estimate_row(steps)}
                yield {"panel": "steps", "kind": "band", "series": "law", **row}
        yield from _critical_rows(laws, [size for size, _ in laws.curve])
    for candidate in advice.candidates:
        if candidate.steps_to_target.estimate is not None:
            yield {
                "panel": "steps",
                "kind": candidate_kind(candidate),
                "batch_size": candidate.batch_size,
                "batch": label_of(looks, candidate.batch_size),
                **estimate_row(candidate.steps_to_target),
            }
        for tried in single_runs(advice, candidate):
            base: Row = {
                "panel": "steps",
                "batch_size": tried.batch_size,
                "batch": label_of(looks, tried.batch_size),
            }
            if tried.steps_to_target is not None:
                yield {**base, "kind": "run", "mean": rounded(tried.steps_to_target)}
            elif tried.steps:
                yield {**base, "kind": "bound", "mean": tried.steps}
    if is_raced(advice):
        yield from _as_is(advice, study)


def _as_is(advice: Advice, study: Study) -> Iterator[Row]:
    """After a race the reference as it is, beside which the others ran."""
    reference = advice.reference
    base: Row = {
        "panel": "steps",
        "batch_size": reference.batch_size,
        "batch": label_of(advice_looks(advice, study), reference.batch_size),
    }
    highest = 0.0
    for tried in runs_of(advice, reference.batch_size, reference.learning_rate):
        mean = rounded(tried.steps_to_target or tried.steps)
        yield {**base, "kind": "bound" if tried.steps_to_target is None else "as_is", "mean": mean}
        highest = max(highest, mean)
    if highest:
        own = reference_words(advice).configuration
        yield {**base, "kind": "words", "mean": highest, "text": own}


def _critical_rows(laws: Laws, sizes: list[int]) -> Iterator[Row]:
    """The critical batch size, where it lies within the axis."""
    value, low, high = laws.b_crit.estimate, laws.b_crit.low, laws.b_crit.high
    if value is None or not sizes or not sizes[0] <= value <= sizes[-1]:
        return
    if low is not None and high is not None:
        yield {
            "panel": "steps",
            "kind": "span",
            "batch_size": max(low, sizes[0] / 1.4),
            "to_size": min(high, sizes[-1] * 1.4),
        }
    yield {
        "panel": "steps",
        "kind": "place",
        "batch_size": value,
        "text": label_text("critical_batch_size"),
        "side": "left" if value**2 < sizes[0] * sizes[-1] else "right",
    }


def _notes(advice: Advice, rows: tuple[Row, ...]) -> Iterator[str]:
    if any(row["kind"] == "point" for row in rows):
        yield text("Large marks: the estimate with its 95 % interval.")
    if any(row["kind"] == "run" for row in rows):
        if is_raced(advice):
            yield text("Small circles: single runs, at the rates that raced.")
        else:
            yield text("Small circles: single runs on fresh seeds.")
    if any(row["kind"] == "open" for row in rows):
        yield text("Hollow: not trained itself, read off the fitted curve.")
    if any(row["kind"] == "bound" for row in rows):
        yield text("↑: a run that had not reached the target by then.")
    laws = advice.laws
    if laws is None or not laws.curve:
        yield text("No law was fitted.")
        return
    if laws.law_holds:
        yield text("Line and band: a law fitted to the points. It is told under For researchers.")
    else:
        yield text(
            "Line and band: the measured points, joined. The line rises only where the points rise "
            "by more than their scatter."
        )


def _table(advice: Advice) -> Table:
    rows: list[tuple[Value, ...]] = []
    for candidate in advice.candidates:
        steps, samples = candidate.steps_to_target, candidate.samples_to_target
        rows.append(
            (
                candidate.batch_size,
                candidate.learning_rate,
                candidate.n_runs,
                steps.estimate,
                steps.low,
                steps.high,
                samples.estimate,
                reason_text(candidate.note),
            )
        )
    laws = advice.laws
    b_crit = "" if laws is None else estimate_text("critical_batch_size", laws.b_crit)
    return Table(
        caption=text("Steps to target at the tuned rate, with 95 % intervals")
        + (text("; critical batch size {size}", size=b_crit) if b_crit else ""),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="n_runs", quantity="n", label=text("runs")),
            Column(key="steps_to_target", quantity="steps_to_target"),
            Column(key="low", quantity="steps_to_target", label=text("from")),
            Column(key="high", quantity="steps_to_target", label=text("to")),
            Column(key="samples_to_target", quantity="samples_to_target"),
            Column(key="note", quantity="", label=text("note")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


ROWS = (
    FigureRow(
        key="b",
        name="steps",
        build=lambda advice, study, profile: steps_figure(advice, study, key="b"),
    ),
)
