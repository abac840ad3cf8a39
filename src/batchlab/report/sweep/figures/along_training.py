"""Figures (a), (b), (c): the metrics along training, at equal epochs, steps and time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from batchlab.measure.measurements import measurement_rows
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.cells import (
    Cell,
    CurvePoint,
    chosen_cells,
    figure_looks,
    lone_curves,
    mean_curve,
    measured_along,
    rate_notes,
    spread_row,
    spread_text,
    thinned,
    trial_words,
)
from batchlab.report.parts.charts.axes import View, value_y, view_x
from batchlab.report.parts.charts.chart import chart, literal
from batchlab.report.parts.figure import SPLITS, Figure, Panel, Row, list_text, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import label_text, split_label
from batchlab.words.catalogue import text

MOST_POINTS = 160  # of a line on the page: more than its pixels can show; the CSV has all
MOST_ROWS = 9_000  # of all lines together: the page stays below 5 MB with any number of them
FEWEST_POINTS = 12
MOST_MARKS = 8  # point shapes on a line: enough to tell lines apart, few enough to see them
MOST_TABLE_PLACES = 50  # a batch size's rows in the table under the curves


_TITLES: dict[View, str] = {
    "epoch": "Train and held-out metrics by epoch",
    "step": "Train and held-out metrics by optimizer step",
    "equal_time_s": "Train and held-out metrics by time",
}
_EQUAL: dict[View, str] = {
    "epoch": "Equal epochs: every batch size has seen the same number of examples.",
    "step": "Equal steps: every batch size has made the same number of updates.",
    "equal_time_s": (
        "Equal time: steps × the time of a step measured alone on this machine, not the clock of "
        "trials that shared it."
    ),
}


def curves_figure(study: Study, *, key: str, view: View) -> Figure:
    """The metrics of every split along training, for the chosen learning rate of a batch size."""
    chosen = chosen_cells(study)
    rows = tuple(_curve_rows(study, chosen))
    at_places = [row for row in rows if row[view] is not None and row["step"] != 0]
    absent = None
    if not at_places:
        absent = (
            text(
                "No step time was measured alone, so there is no common clock for the batch sizes."
            )
            if rows and view == "equal_time_s"
            else text("No trial has been evaluated after its first step yet.")
        )
    panels = [] if absent else _curve_panels(study, chosen, at_places, key=key, view=view)
    return Figure(
        key=key,
        title=text(_TITLES[view]),
        notes=(text(_EQUAL[view]), *_curve_notes(study, chosen, view)),
        absent=absent,
        panels=tuple(panels),
        data="curves",
        rows=rows,
        table=_curve_table(study, chosen),
    )


def _curve_metrics(study: Study) -> list[str]:
    """The metric that counts, and the loss."""
    return list(dict.fromkeys([study.workload.metrics[0].name, "loss"]))


def _curve_rows(study: Study, chosen: tuple[Cell, ...]) -> Iterator[Row]:
    """The points of all lines, thinned so that they fit on a page."""
    lines = list(_lines(study, chosen))
    most = max(FEWEST_POINTS, min(MOST_POINTS, MOST_ROWS // max(1, len(lines))))
    for name, points, n_marks in lines:
        shown = thinned(points, most)
        marked = {point.step for point in thinned(shown[-n_marks:], MOST_MARKS)} if n_marks else {}
        for point in shown:
            yield {**name, **_point_row(point), "marked": point.step in marked}


def _lines(
    study: Study, chosen: tuple[Cell, ...]
) -> Iterator[tuple[Row, tuple[CurvePoint, ...], int]]:
    """Name, points, and how many of the last points may carry a mark, of every line."""
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    for cell in chosen:
        timing = study.timing(cell.batch_size)
        for split in SPLITS:
            for metric in _curve_metrics(study):
                name: Row = {"batch": labels[cell.batch_size], "split": split, "metric": metric}
                mean = mean_curve(cell, split, metric, timing)
                if mean:
                    yield {**name, "run": "mean"}, mean, len(mean) - 1
                for curve in lone_curves(cell, split, metric, timing):
                    n_marks = 1 if curve.record in cell.others else 0
                    yield {**name, "run": trial_words(curve.record)}, curve.points, n_marks


def _point_row(point: CurvePoint) -> Row:
    time_s = point.equal_time_s
    return {
        "epoch": rounded(point.epoch),
        "step": point.step,
        "equal_time_s": None if time_s is None else rounded(time_s),
        **spread_row(point.spread),
    }


def _curve_panels(
    study: Study, chosen: tuple[Cell, ...], rows: list[Row], *, key: str, view: View
) -> Iterator[Panel]:
    at = [float(row[view] or 0.0) for row in rows]
    for number, metric in enumerate(_curve_metrics(study)):
        of_metric = [row for row in rows if row["metric"] == metric]
        for split in SPLITS:
            kinds = _kinds(row for row in of_metric if row["split"] == split)
            if kinds:
                yield Panel(
                    key=f"{key}-{split}-{number}",
                    title=split_label(split, metric),
                    alternative=_curve_words(chosen, split, metric, view),
                    plot=partial(
                        chart,
                        "curves",
                        where=f"datum.split == '{split}' && datum.metric == {literal(metric)}"
                        f" && isValid(datum.{view}) && datum.step > 0",
                        x=partial(view_x, view, (min(at), max(at))),
                        y=partial(value_y, metric, _domain(of_metric)),
                        name=metric,
                        kinds=kinds,
                        looks=figure_looks(study),
                    ),
                )


def _kinds(rows: Iterable[Row]) -> frozenset[str]:
    """What is drawn of the rows of one panel."""
    drawn = {
        kind
        for row in rows
        for kind in (("seeds", "marks") if row["run"] == "mean" else ("lone", "cross"))
    }
    return frozenset(drawn)


def _domain(rows: list[Row]) -> tuple[float, float]:
    """Of the means where there are any: a diverged trial would flatten the rest."""
    return rows_domain([row for row in rows if row["run"] == "mean"] or rows)


def _curve_words(chosen: tuple[Cell, ...], split: Split, metric: str, view: View) -> str:
    ends = [
        text(
            "batch size {batch_size}: {value}",
            batch_size=cell.batch_size,
            value=spread_text(metric, final),
        )
        for cell in chosen
        if (final := cell.final(split, metric)) is not None
    ]
    what, axis = split_label(split, metric), label_text(view)
    if not ends:
        return text(
            "Line chart of {what} against {axis}, one line a batch size. No trial has ended well.",
            what=what,
            axis=axis,
        )
    return text(
        "Line chart of {what} against {axis}, one line a batch size. At the end: {ends}.",
        what=what,
        axis=axis,
        ends="; ".join(ends),
    )


def _curve_notes(study: Study, chosen: tuple[Cell, ...], view: View) -> Iterator[str]:
    workload = study.workload
    yield from rate_notes(study, chosen)
    seeds = {len(cell.ended_well) for cell in chosen} - {0}
    if seeds and max(seeds) > 1:
        yield text(
            "Lines are means over the seeds; bands reach from the lowest to the highest seed."
        )
    elif seeds:
        yield text("One seed only: there is no band, and the spread between seeds is not known.")
    if not workload.has_validation:
        yield text("There is no validation set: learning rates are compared on train data.")
    metric = workload.metrics[0].name
    if workload.n_test == 0 and any(cell.final("train", metric) for cell in chosen):
        yield text(
            "There is no test set: the gap is taken to the validation set where there is one."
        )
    if 0 < workload.n_train_evaluated < workload.n_train:
        yield text(
            "The train metric is taken over a fixed {n} of the {n_train} training examples.",
            n=workload.n_train_evaluated,
            n_train=workload.n_train,
        )
    if any(cell.others for cell in chosen):
        yield text(
            "Dotted thin lines that end in × are single trials that ended badly or have not "
            "ended; they are in no mean and may leave the frame."
        )
    of_all = [record.evaluations for cell in chosen for record in cell.records]
    evaluated = [evaluations[0] for evaluations in of_all if evaluations]
    if any(first.step == 0 for first in evaluated):
        yield text("The untrained model (step 0) is in the data but not drawn.")
    untimed = [c.batch_size for c in chosen if study.timing(c.batch_size) is None]
    if view == "equal_time_s" and untimed and len(untimed) < len(chosen):
        yield text(
            "Without a step time measured alone, not drawn: {sizes}.", sizes=list_text(untimed)
        )


def _curve_table(study: Study, chosen: tuple[Cell, ...]) -> Table:
    metrics = _curve_metrics(study)
    series: list[tuple[Split, str]] = [(split, metric) for metric in metrics for split in SPLITS]
    along = _measured_along_training()
    rows: list[tuple[Value, ...]] = []
    for cell in chosen:
        timing = study.timing(cell.batch_size)
        curves = {key: mean_curve(cell, *key, timing) for key in series}
        known = {key: {point.step: point for point in curve} for key, curve in curves.items()}
        measured = [measured_along(cell, measurement) for measurement in along]
        # Where train data were scored all splits were: these are the epoch ends.
        places = thinned(
            curves["train", metrics[0]] or curves["validation", metrics[0]], MOST_TABLE_PLACES
        )
        for place in places:
            here = [known[key].get(place.step) for key in series]
            rows.append(
                (
                    cell.batch_size,
                    float(f"{place.epoch:.4g}"),
                    place.step,
                    place.equal_time_s,
                    *(None if point is None else point.spread.mean for point in here),
                    *(values.get(place.step) for values in measured),
                    place.spread.n,
                )
            )
    places_columns = tuple(
        Column(key=name, quantity=name) for name in ("batch_size", "epoch", "step", "equal_time_s")
    )
    score_columns = tuple(
        Column(
            key=f"{split}_{metric}",
            quantity=metric,
            label=split_label(split, metric),
        )
        for split, metric in series
    )
    return Table(
        caption=text("Means over the seeds that ended well, by batch size and epoch"),
        columns=(
            *places_columns,
            *score_columns,
            *(Column(key=name, quantity=name) for name in (row.quantity.name for row in along)),
            Column(key="n", quantity="n", label=text("seeds")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def _measured_along_training() -> list[Measurement]:
    """The measurements of a model at a step that a figure shows."""
    return [row for row in measurement_rows().values() if row.of_batch_size is None and row.figure]


ROWS = (
    FigureRow(key="a", name="epochs", build=partial(curves_figure, key="a", view="epoch")),
    FigureRow(key="b", name="steps", build=partial(curves_figure, key="b", view="step")),
    FigureRow(key="c", name="time", build=partial(curves_figure, key="c", view="equal_time_s")),
)
