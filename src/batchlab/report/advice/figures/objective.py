"""Figure (a): the objective's figure by batch size, and which batch sizes are about as good."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.advice.advice import Advice
from batchlab.advice.parts import Candidate
from batchlab.records.study import Study
from batchlab.report.advice.objective_words import objective_words, share_text
from batchlab.report.advice.reason_clause import with_a_capital
from batchlab.report.advice.reference_words import reference_words
from batchlab.report.advice.rows import (
    advice_looks,
    candidate_kind,
    drawn_looks,
    estimate_row,
    kinds_of,
    label_of,
    side_of,
)
from batchlab.report.advice.tables import candidates_table
from batchlab.report.parts.charts.axes import ratio_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.estimate_text import estimate_text
from batchlab.report.parts.figure import Figure, Panel, Row, rounded, rows_domain, with_room
from batchlab.report.parts.figure_row import FigureRow
from batchlab.words.catalogue import text

_EDGE = 2**0.25  # how far the shade reaches beyond the batch sizes inside: an interval may hold one


def objective_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """Time (samples, or for quality the metric) by batch size, with the flat set."""
    words = objective_words(advice)
    known = [c for c in advice.candidates if c.cost.estimate is not None]
    rows = tuple(_rows(advice, study, known)) if known else ()
    looks = drawn_looks(advice_looks(advice, study), rows)
    # Where the best lies at the top, its words need room there.
    headroom = 0.1 if words.better == "higher" else 0.0
    panel = Panel(
        key=f"{key}-objective",
        title=words.figure_text,
        alternative=_words(advice, known),
        plot=partial(
            chart,
            "objective",
            where=in_panel("objective"),
            x=partial(batch_size_x, looks),
            y=partial(ratio_y, words.quantity, with_room(rows_domain(rows), above=headroom)),
            name=words.quantity,
            kinds=kinds_of(rows),
            looks=looks,
        ),
    )
    return Figure(
        key=key,
        title=text("{figure} by batch size", figure=with_a_capital(words.figure_text)),
        notes=tuple(_notes(advice)),
        absent=None
        if known
        else text("No batch size has a figure: no run with a tuned rate gave one."),
        panels=(panel,) if known else (),
        data="objective",
        rows=rows,
        table=candidates_table(advice),
    )


def _rows(advice: Advice, study: Study, known: list[Candidate]) -> Iterator[Row]:
    looks, words = advice_looks(advice, study), objective_words(advice)
    base: Row = {"panel": "objective"}
    for low, high in _without_holes(advice):
        yield {**base, "kind": "span", "batch_size": low / _EDGE, "to_size": high * _EDGE}
    for candidate in known:
        cost = words.shown_estimate(candidate.cost)
        row: Row = {**base, "batch_size": candidate.batch_size, **estimate_row(cost)}
        row["batch"] = label_of(looks, candidate.batch_size)
        yield {**row, "kind": "band", "series": "measured"}
        yield {**row, "kind": candidate_kind(candidate)}
        found = advice.recommendation
        if found is not None and found.batch_size == candidate.batch_size:
            place: Row = {**base, "batch_size": found.batch_size}
            yield {**place, "kind": "ring", "mean": row["mean"]}
            side = side_of(looks, found.batch_size)
            yield {**place, "kind": "place", "text": text("recommended"), "side": side}
    yield from _as_is(advice, study)


def _without_holes(advice: Advice) -> Iterator[tuple[int, int]]:
    """The flat set as spans, each without a batch size in between that is not in it."""
    together: list[int] = []
    for candidate in (*advice.candidates, None):
        if candidate is not None and candidate.batch_size in advice.flat_set:
            together.append(candidate.batch_size)
        elif together:
            yield together[0], together[-1]
            together = []


def _as_is(advice: Advice, study: Study) -> Iterator[Row]:
    """The reference configuration as it is, at its own rate, seed by seed."""
    head = advice.head_to_head
    if head is None:
        return
    looks, size = advice_looks(advice, study), advice.reference.batch_size
    base: Row = {"panel": "objective", "batch_size": size, "batch": label_of(looks, size)}
    highest: float | None = None
    bounds = head.reference_bounds or (None,) * len(head.reference)
    words = objective_words(advice)
    for figure, bound in zip(head.reference, bounds, strict=False):
        value = None if figure is None else words.shown(figure)
        if value is not None:
            yield {**base, "kind": "as_is", "mean": rounded(value)}
        elif bound is not None:
            yield {**base, "kind": "bound", "mean": rounded(bound)}
        drawn = value if value is not None else bound
        if drawn is not None:
            highest = drawn if highest is None else max(highest, drawn)
    if highest is not None:
        yield {
            **base,
            "kind": "words",
            "mean": rounded(highest),
            "text": reference_words(advice).configuration,
            "side": side_of(looks, size),
        }


def _words(advice: Advice, known: list[Candidate]) -> str:
    words = objective_words(advice)
    shown = [(c.batch_size, words.shown_estimate(c.cost)) for c in known]
    values = "; ".join(f"{size}: {estimate_text(words.quantity, cost)}" for size, cost in shown)
    inside = ", ".join(str(c.batch_size) for c in known if c.in_flat_set) or text("none")
    return text(
        "Chart of {figure} against batch size, each at its own tuned learning rate. {values}. "
        "In the flat set: {inside}.",
        figure=words.figure_text,
        values=values,
        inside=inside,
    )


def _notes(advice: Advice) -> Iterator[str]:
    words = objective_words(advice)
    yield text(
        "Each batch size at its own tuned learning rate, valued on seeds that did not choose it. "
        "Bars and band: 95 % intervals of each batch size alone."
    )
    if any(c.learning_rate is None and c.cost.estimate is not None for c in advice.candidates):
        yield text("Hollow: not trained itself; read off the fitted curve.")
    if advice.flat_set:
        yield text(
            "Shaded: the flat set. There the ratio to {best} is at most 1 + {share}, with "
            "95 % confidence for all batch sizes at once (“at most” in the table).",
            best=words.within_text,
            share=share_text(advice.delta),
        )
    head = advice.head_to_head
    if head is not None and any(value is not None for value in head.reference):
        own = reference_words(advice).configuration
        yield text("×: {own}, at its own learning rate, one mark a fresh seed.", own=own)
    if head is not None and any(value is None for value in head.reference):
        yield text("↑: it had not reached the target by then; the figure is larger than this.")


ROWS = (
    FigureRow(
        key="a",
        name="objective",
        build=lambda advice, study, profile: objective_figure(advice, study, key="a"),
    ),
)
