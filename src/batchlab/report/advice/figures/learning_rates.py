"""Figure (d): the basin of learning rates of each batch size, and what scaling rules would set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from functools import partial

from batchlab.advice.advice import Advice, RateTried
from batchlab.records.study import Study
from batchlab.report.advice_rows import advice_looks, drawn_looks, kinds_of, label_of
from batchlab.report.advice_words import ratio_text, reference_words
from batchlab.report.parts.charts.axes import rate_range_x, ratio_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import quantity_text
from batchlab.words.catalogue import text

_WENT_WRONG = ("diverged", "nan", "oom", "killed", "error")


def learning_rates_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """Steps to target by learning rate for every batch size; tuned rates beside the rules'."""
    rows = (*_basin_rows(advice, study), *_rule_rows(advice, study))
    panels = tuple(_panels(advice, study, rows, key))
    absent = text("There is no target, so there are no steps to it.")
    if advice.target:
        absent = text("No run at any learning rate reached the target.")
    return Figure(
        key=key,
        title=text("The learning rate of each batch size"),
        notes=tuple(_notes(advice, rows)),
        absent=None if panels else absent,
        panels=panels,
        data="rates",
        rows=rows,
        table=_table(advice),
    )


def _panels(advice: Advice, study: Study, rows: tuple[Row, ...], key: str) -> Iterator[Panel]:
    looks = advice_looks(advice, study)
    basin = [row for row in rows if row["panel"] == "basin"]
    if any(row["kind"] == "run" for row in basin):
        rates = sorted(float(row["learning_rate"] or 0.0) for row in basin)
        yield Panel(
            key=f"{key}-basin",
            title=text("steps to target by learning rate"),
            alternative=_basin_words(advice),
            plot=partial(
                chart,
                "rates",
                where=in_panel("basin"),
                x=partial(rate_range_x, rates),
                y=partial(ratio_y, "steps_to_target", rows_domain(basin)),
                name="steps_to_target",
                kinds=kinds_of(basin),
                looks=looks,
            ),
        )
    tuned = [row for row in rows if row["panel"] == "tuned"]
    if tuned:
        tuned_looks = drawn_looks(looks, tuned)
        yield Panel(
            key=f"{key}-tuned",
            title=text("tuned learning rate by batch size"),
            alternative=_tuned_words(advice),
            plot=partial(
                chart,
                "rates",
                where=in_panel("tuned"),
                x=partial(batch_size_x, tuned_looks),
                y=partial(ratio_y, "learning_rate", rows_domain(tuned)),
                name="learning_rate",
                kinds=kinds_of(tuned),
                looks=tuned_looks,
            ),
        )


def _basin_rows(advice: Advice, study: Study) -> Iterator[Row]:
    looks = advice_looks(advice, study)
    lost: dict[float, int] = {}
    by_cell: dict[tuple[int, float], list[float]] = {}
    for tried in advice.tried:
        if tried.purpose == "cool_down":
            continue
        base: Row = {
            "panel": "basin",
            "batch": label_of(looks, tried.batch_size),
            "learning_rate": tried.learning_rate,
        }
        if tried.steps_to_target is not None:
            steps = tried.steps_to_target
            by_cell.setdefault((tried.batch_size, tried.learning_rate), []).append(steps)
            yield {**base, "kind": "run", "mean": rounded(steps)}
            continue
        # A run that missed counts as a long one, or its rate would look better than it is.
        by_cell.setdefault((tried.batch_size, tried.learning_rate), []).append(math.inf)
        if tried.status in _WENT_WRONG:
            place = lost.get(tried.learning_rate, 0)
            lost[tried.learning_rate] = place + 1
            if place < 6:  # more crosses above each other would hide the basins
                yield {**base, "kind": "lost", "place": place}
        elif tried.steps and advice.target is not None:
            yield {**base, "kind": "bound", "mean": tried.steps}
    ends: dict[int, Row] = {}
    for (batch_size, rate), found in sorted(by_cell.items()):
        middle = statistics.median(found)
        if not math.isfinite(middle):
            continue
        at: Row = {"panel": "basin", "learning_rate": rate, "mean": rounded(middle)}
        at["batch"] = label_of(looks, batch_size)
        yield {**at, "kind": "line"}
        ends[batch_size] = at
        own = advice.candidate(batch_size)
        if own is not None and own.learning_rate == rate:
            ring: Row = {"learning_rate": rate, "mean": rounded(middle)}
            yield {"panel": "basin", "kind": "ring", **ring}
    for at in ends.values():  # colors tell parts: the batch size stands at the end of its line
        yield {**at, "kind": "words", "text": at["batch"], "side": "left"}


def _rule_rows(advice: Advice, study: Study) -> Iterator[Row]:
    looks = advice_looks(advice, study)
    tuned = [c for c in advice.candidates if c.learning_rate is not None]
    # Of one batch size alone every rule says the same, and their names lie on top of each other.
    has_rules = len(tuned) > 1
    for candidate in tuned:
        rate = candidate.learning_rate
        assert rate is not None
        yield {
            "panel": "tuned",
            "kind": "point",
            "batch_size": candidate.batch_size,
            "batch": label_of(looks, candidate.batch_size),
            "mean": rate,
            "low": rate,
            "high": rate,
            "n": candidate.n_runs,
        }
        for rule, rule_rate in candidate.rule_learning_rates if has_rules else ():
            yield {
                "panel": "tuned",
                "kind": "rule",
                "series": rule,
                "batch_size": candidate.batch_size,
                "mean": rounded(rule_rate),
                "text": rule if candidate is tuned[-1] else None,
            }


def _notes(advice: Advice, rows: tuple[Row, ...]) -> Iterator[str]:
    kinds = kinds_of(rows)
    if "run" in kinds:
        yield text(
            "Small circles: single runs. Lines join their medians; a run that missed the target "
            "counts as a long one. A ring marks the chosen rate."
        )
    if "bound" in kinds:
        yield text("↑: a run that was stopped before it reached the target.")
    if "lost" in kinds:
        yield text(
            "× at the top: a run that diverged or failed (at most six are drawn at one rate)."
        )
    if "rule" in kinds:
        yield text(
            "Dashed: what the scaling rules set from the tuned rate of {batch_size}. A rate is "
            "tuned to about a factor of two, so points near a line agree with it.",
            batch_size=reference_words(advice).batch_size,
        )


def _basin_words(advice: Advice) -> str:
    chosen = "; ".join(
        text(
            "batch size {size}: {rate}",
            size=c.batch_size,
            rate=quantity_text("learning_rate", c.learning_rate),
        )
        for c in advice.candidates
        if c.learning_rate is not None
    )
    return text(
        "Chart of steps to target against learning rate, one line a batch size. Chosen: {chosen}.",
        chosen=chosen,
    )


def _tuned_words(advice: Advice) -> str:
    tuned = "; ".join(
        text(
            "{size}: tuned {rate}{rules}",
            size=c.batch_size,
            rate=quantity_text("learning_rate", c.learning_rate),
            rules="".join(
                f", {rule} {quantity_text('learning_rate', rate)}"
                for rule, rate in c.rule_learning_rates
            ),
        )
        for c in advice.candidates
        if c.learning_rate is not None
    )
    return text(
        "Chart of the tuned learning rate against batch size, with what scaling rules set. "
        "{tuned}.",
        tuned=tuned,
    )


def _table(advice: Advice) -> Table:
    """The tuned rate of each batch size beside what each rule sets."""
    names = list(
        dict.fromkeys(rule for c in advice.candidates for rule, _ in c.rule_learning_rates)
    )
    rows: list[tuple[Value, ...]] = []
    for candidate in advice.candidates:
        rules = dict(candidate.rule_learning_rates)
        tried = [t for t in advice.tried if t.batch_size == candidate.batch_size]
        rows.append(
            (
                candidate.batch_size,
                candidate.learning_rate,
                *(_rule_text(rules.get(name), candidate.learning_rate) for name in names),
                len({t.learning_rate for t in tried}),
                len(tried),
                _missed(tried),
            )
        )
    return Table(
        caption=text("The tuned learning rate, and what scaling rules set (as multiples of it)"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate", label=text("tuned rate")),
            *(
                Column(key=name, quantity="", label=text("rule {name}", name=name))
                for name in names
            ),
            Column(key="n_rates", quantity="n", label=text("rates tried")),
            Column(key="n_runs", quantity="n", label=text("runs")),
            Column(key="n_missed", quantity="n", label=text("missed or failed")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def _rule_text(rate: float | None, tuned: float | None) -> str:
    if rate is None:
        return ""
    value = quantity_text("learning_rate", rate)
    return value if tuned is None else f"{value} (× {ratio_text(rate / tuned)})"


def _missed(tried: list[RateTried]) -> int:
    return sum(run.steps_to_target is None for run in tried)


ROWS = (
    FigureRow(
        key="d",
        name="learning-rates",
        build=lambda advice, study, profile: learning_rates_figure(advice, study, key="d"),
    ),
)
