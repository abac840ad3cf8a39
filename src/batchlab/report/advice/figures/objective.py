"""Figure (a): the objective's figure by batch size, and which batch sizes are about as good."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.advice.advice import Advice, Candidate
from batchlab.records.study import Study
from batchlab.report.advice_rows import (
    RunFigure,
    ShownCost,
    advice_looks,
    candidate_kind,
    drawn_looks,
    is_raced,
    kinds_of,
    label_of,
    named_cost,
    own_cost,
    reference_runs,
    run_figures,
    runs_in_words,
    single_runs,
    with_sides,
)
from batchlab.report.advice_tables import candidates_table
from batchlab.report.advice_words import (
    is_same,
    named_text,
    objective_words,
    reference_words,
    share_text,
)
from batchlab.report.parts.charts.axes import ratio_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import (
    Figure,
    Panel,
    Row,
    estimate_row,
    rounded,
    rows_domain,
    with_room,
)
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.text import estimate_text, with_a_capital
from batchlab.words.catalogue import text

_EDGE = 2**0.25  # how far the shade reaches beyond the batch sizes inside: an interval may hold one


def objective_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """Time (samples, or for quality the metric) by batch size, with the flat set."""
    words = objective_words(advice)
    known = [c for c in advice.candidates if c.cost.estimate is not None]
    rows = tuple(_rows(advice, study, known))
    if rows:
        rows = (*rows, *_named(advice, study))
    looks = drawn_looks(advice_looks(advice, study), rows)
    rows = with_sides(rows, looks)
    # Words at the top need room where the best lies there; what is named for now may lie anywhere.
    is_for_now = advice.recommendation is None and advice.provisional is not None
    headroom = 0.1 if words.better == "higher" or is_for_now else 0.0
    panel = Panel(
        key=f"{key}-objective",
        title=words.figure_text,
        alternative=_words(advice, known, rows),
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
        notes=tuple(_notes(advice, rows)),
        absent=None
        if rows
        else text("No batch size has a figure: no run with a tuned rate gave one."),
        panels=(panel,) if rows else (),
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
    for candidate in advice.candidates:
        if candidate in known:
            continue  # an estimate stands for its runs
        for run in run_figures(advice, candidate, single_runs(advice, candidate)):
            label = label_of(looks, candidate.batch_size)  # only what was run has one
            row = {**base, "batch_size": candidate.batch_size, "batch": label}
            yield {**row, **_run_row(run, "run")}
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
    looks, size = advice_looks(advice, study), advice.reference.batch_size
    runs = reference_runs(advice)
    if not runs:
        return
    base: Row = {"panel": "objective", "batch_size": size, "batch": label_of(looks, size)}
    for run in runs:
        yield {**base, **_run_row(run, "as_is")}
    highest = max(run.shown for run in runs)
    yours = _with_value(advice, reference_words(advice).short, own_cost(advice))
    yield {**base, "kind": "words", "mean": rounded(highest), "text": yours}


def _run_row(run: RunFigure, kind: str) -> Row:
    return {"kind": "bound" if run.is_bound else kind, "mean": rounded(run.shown)}


def _named(advice: Advice, study: Study) -> Iterator[Row]:
    """What the answer names: its figure in a ring, with its name and value."""
    found, cost = advice.named, named_cost(advice)
    if found is None:
        return
    looks, size = advice_looks(advice, study), found.batch_size
    base: Row = {"panel": "objective", "batch_size": size, "batch": label_of(looks, size)}
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


def _words(advice: Advice, known: list[Candidate], rows: tuple[Row, ...]) -> str:
    words = objective_words(advice)
    shown = [(c.batch_size, words.shown_estimate(c.cost)) for c in known]
    values = [f"{size}: {estimate_text(words.quantity, cost)}" for size, cost in shown]
    values += runs_in_words(rows, words.quantity)
    inside = ", ".join(str(c.batch_size) for c in known if c.in_flat_set) or text("none")
    return text(
        "Chart of {figure} against batch size, each at its tuned rate. {values}. "
        "In the flat set: {inside}.",
        figure=words.figure_text,
        values="; ".join(values),
        inside=inside,
    )


def _notes(advice: Advice, rows: tuple[Row, ...]) -> Iterator[str]:
    words = objective_words(advice)
    kinds = kinds_of(rows)
    if not {"point", "open"}.isdisjoint(kinds):
        yield text(
            "Each batch size at its tuned rate, valued on seeds that did not choose "
            "it. Bars and band: 95 % intervals of each batch size alone."
        )
    if "run" in kinds:
        if is_raced(advice):
            yield text("Small circles: single runs, at the rates that raced.")
        else:
            yield text(
                "Small circles: single runs at a tuned learning rate, too few for an interval."
            )
    if "open" in kinds:
        yield text("Hollow: not trained itself; read off the fitted curve.")
    if advice.flat_set:
        yield text(
            "Shaded: the flat set. There the ratio to {best} is at most 1 + {share}, with "
            "95 % confidence for all batch sizes at once (“at most” in the table).",
            best=words.within_text,
            share=share_text(advice.delta),
        )
    if "as_is" in kinds:
        own = reference_words(advice).configuration
        yield text("×: {own}, at its own learning rate, one mark a seed.", own=own)
    if "ring" in kinds and advice.recommendation is None:
        yield text("A ring marks what is best so far.")
    if "verified" in kinds:
        yield text(
            "The ring with a bar is what was found on fresh seeds, after all choices were made, "
            "with its 95 % interval. The point beside it is the estimate before."
        )
    if "bound" in kinds:
        yield text("↑: it had not reached the target by then; the figure is larger than this.")


ROWS = (
    FigureRow(
        key="a",
        name="objective",
        build=lambda advice, study, profile: objective_figure(advice, study, key="a"),
    ),
)
