"""Learning curves of batch sizes: at equal epochs, equal steps and equal time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.records.study import Study
from batchlab.records.trial import Split, Target
from batchlab.report.cells import (
    Cell,
    TrainS,
    cell_label,
    kind_fields,
    lone_curves,
    mean_curve,
    trial_words,
)
from batchlab.report.figure import Figure, Panel, Row, mark, thinned
from batchlab.report.text import quantity_text, split_label
from batchlab.words.catalogue import text

MOST_POINTS = 120  # per line on the page, more than its pixels can show; the CSV has all
MOST_ROWS = 6_000  # for all lines together, so that the page stays small
FEWEST_POINTS = 12
MOST_MARKS = 8  # point shapes on a line: enough to tell lines apart, few enough to see them

Shown = tuple[Split, str]
"""The split of the data and the metric that a panel shows."""

# Share of the longest line that makes a line whole, and share of it at which the axis begins.
_WHOLE, _FIRST = 0.99, 0.1

# The horizontal axis of each view of the curves, and what is equal in it.
_VIEWS = {
    "epochs": ("epoch", "Equal epochs: every batch size has seen the same number of examples."),
    "steps": ("step", "Equal steps: every batch size has made the same number of updates."),
    "time": (
        "equal_time_s",
        "Equal time: steps × the time of a step measured alone on this machine.",
    ),
}


def curve_figure(
    study: Study,
    cells: Sequence[Cell],
    shown: Sequence[Shown],
    *,
    train_s: TrainS,
    target: Target | None = None,
) -> Figure:
    """Draw metrics along training, one line per batch size or plan.

    Args:
        study: the study that the trials belong to.
        cells: the trials of each batch size or plan, which share a line.
        shown: a split and a metric for each panel.
        train_s: the seconds of a training until a step.
        target: a level that is marked in its panel.
    """
    rows = tuple(_curve_rows(study, cells, shown, train_s))
    level: tuple[Row, ...] = ()
    if target is not None and ("validation", target.metric) in shown:
        words = text("target {value}", value=quantity_text(target.metric, target.value))
        of_target = {"split": "validation", "metric": target.metric, "text": words}
        level = (mark("level", target.value, **of_target),)
    panels = [panel for view in _VIEWS for panel in _panels((*rows, *level), shown, view)]
    drawn = {panel.view for panel in panels if panel.has_marks}
    notes = [text(equal) for view, (_, equal) in _VIEWS.items() if view in drawn]
    if panels and "time" not in drawn:
        notes.append(
            text(
                "No step time was measured alone, so there is no common clock for the batch sizes."
            )
        )
    return Figure(
        "b",
        "curves",
        text("Learning curves"),
        panels,
        notes=(*notes, *chosen_notes(cells), *_notes(study, cells, train_s)),
        nothing=text("No trial has been evaluated after its first step yet."),
        rows=(*rows, *level),
    )


def _panels(rows: Sequence[Row], shown: Sequence[Shown], view: str) -> Iterator[Panel]:
    along, _ = _VIEWS[view]
    for number, (split, metric) in enumerate(shown):
        of_metric = [row for row in rows if row["metric"] == metric]
        placed = tuple(row for row in of_metric if row["kind"] != "start" and along in row)
        framed = _framed(placed)
        own = tuple(row for row in placed if row["split"] == split)
        level = tuple(row for row in of_metric if row["kind"] == "level")
        if own:
            yield Panel(
                f"b-{view}-{split}-{number}",
                split_label(split, metric),
                metric,
                (*own, *level) if split == "validation" else own,
                axis=along,
                is_metric=True,
                frame=framed,
                view=view,
            )


def _framed(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that an axis has room for: whole trainings, after a tenth of their length.

    The values of untrained models would hide all differences at the end.
    """
    epochs = [float(row["epoch"] or 0.0) if "epoch" in row else 0.0 for row in rows]
    whole = _WHOLE * max(epochs, default=0.0)
    lines = [(row.get("plan"), row.get("batch_size")) for row in rows]
    ended = {line for line, epoch in zip(lines, epochs, strict=True) if epoch >= whole}
    return [
        row
        for row, line, epoch in zip(rows, lines, epochs, strict=True)
        if line in ended and epoch >= _FIRST * whole
    ]


def _curve_rows(
    study: Study, cells: Sequence[Cell], shown: Sequence[Shown], train_s: TrainS
) -> Iterator[Row]:
    """Yield the points of all lines, thinned so that they fit on a page."""
    lines = list(_lines(study, cells, shown, train_s))
    most = max(FEWEST_POINTS, min(MOST_POINTS, MOST_ROWS // max(1, len(lines))))
    for name, places, n_marks in lines:
        kept = thinned(places, most)
        marked = thinned(kept[-n_marks:], MOST_MARKS) if n_marks else ()
        for place in kept:
            row = {**name, **place, "marked": place in marked}
            yield row if place["step"] else row | {"kind": "start"}


def _lines(
    study: Study, cells: Sequence[Cell], shown: Sequence[Shown], train_s: TrainS
) -> Iterator[tuple[Row, list[Row], int]]:
    """Yield the name and places of every line, and how many of its last places may be marked."""
    for cell in cells:
        for split, metric in shown:
            name: Row = {**kind_fields(study, cell), "split": split, "metric": metric}
            mean = mean_curve(cell, split, metric, train_s)
            if mean:
                yield {**name, "kind": "curve", "run": "mean"}, mean, len(mean) - 1
            for record, places in lone_curves(cell, split, metric, train_s):
                n_marks = 0 if record.ended_well else 1
                yield {**name, "kind": "lone", "run": trial_words(record)}, places, n_marks


def chosen_notes(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield what the marks of each batch size stand for."""
    n_seeds = max((len(cell.ended_well) for cell in cells), default=0)
    if n_seeds > 1:
        yield text(
            "Lines and large marks are means over the seeds, bands and bars reach from the lowest "
            "to the highest, small circles are single seeds."
        )
    elif n_seeds:
        yield text("One seed only: the spread between seeds is not known.")


def _notes(study: Study, cells: Sequence[Cell], train_s: TrainS) -> Iterator[str]:
    workload = study.workload
    yield text("The vertical axis begins where whole trainings are after a tenth of their length.")
    if not workload.has_validation:
        yield text("There is no validation set: learning rates are compared on train data.")
    if 0 < workload.n_train_evaluated < workload.n_train:
        yield text(
            "The train metric is taken over a fixed {n} of the {n_train} training examples.",
            n=workload.n_train_evaluated,
            n_train=workload.n_train,
        )
    if any(cell.others for cell in cells):
        yield text(
            "Dotted thin lines that end in × are single trials that ended badly or have not "
            "ended; they are in no mean and may leave the frame."
        )
    untimed = [
        cell_label(study, cell) for cell in cells if train_s(cell.records[0].trial, 1) is None
    ]
    if untimed and len(untimed) < len(cells):
        yield text(
            "Without a step time measured alone, not drawn by time: {sizes}.",
            sizes=", ".join(untimed),
        )
