"""Figure (d): the generalization gap by batch size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.cells import (
    Cell,
    chosen_cells,
    figure_looks,
    held_out_split,
    rate_notes,
    size_rows,
)
from batchlab.report.parts.figure import SPLITS, Figure, Panel, Row
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.size_panel import size_panel
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import label_text, split_label, term_text
from batchlab.words.catalogue import text


def gap_figure(study: Study, *, key: str) -> Figure:
    """The final train and held-out metric, and the gap between them, by batch size."""
    metric = study.workload.metrics[0].name
    chosen = chosen_cells(study)
    held_out = held_out_split(study)
    rows = tuple(_gap_rows(study, chosen, held_out, metric)) if held_out else ()
    absent = None
    if held_out is None:
        absent = text("There is neither a test nor a validation set, so there is no gap to show.")
    elif not rows:
        absent = text("No trial that ended well knows both its train and its held-out metric.")
    panels: tuple[Panel, ...] = ()
    if held_out is not None and not absent:
        panels = (_final_panel(study, rows, held_out, metric, key=f"{key}-final"),)
        if _has(rows, "gap"):  # a script may tell its validation metric alone
            panels += (_gap_panel(study, rows, held_out, metric, key=f"{key}-gap"),)
    return Figure(
        key=key,
        title=text("Generalization gap by batch size"),
        notes=tuple(_gap_notes(study, chosen, held_out)),
        absent=absent,
        panels=panels,
        data="gap",
        rows=rows,
        table=_gap_table(chosen, held_out, metric),
    )


def _final_panel(
    study: Study, rows: tuple[Row, ...], held_out: Split, metric: str, *, key: str
) -> Panel:
    label, split = label_text(metric), term_text(held_out)
    title = text("final {metric}: train (solid line), {split} (dashed)", metric=label, split=split)
    what = text("final train and {split} {metric}", split=split, metric=label)
    if not _has(rows, "train"):
        title = text("final {metric}: {split}", metric=label, split=split)
        what = text("final {split} {metric}", split=split, metric=label)
    return size_panel(
        "gap",
        rows,
        figure_looks(study),
        key=key,
        quantity=metric,
        title=title,
        what=what,
        series=("train", held_out),
    )


def _has(rows: tuple[Row, ...], series: str) -> bool:
    """Whether there is a value of this series."""
    return any(row["series"] == series for row in rows)


def _gap_panel(
    study: Study, rows: tuple[Row, ...], held_out: Split, metric: str, *, key: str
) -> Panel:
    what = text(
        "{train} − {held_out}",
        train=split_label("train", metric),
        held_out=split_label(held_out, metric),
    )
    return size_panel(
        "gap",
        rows,
        figure_looks(study),
        key=key,
        quantity="generalization_gap",
        title=text("generalization gap: {what}", what=what),
        what=text("generalization gap, {what},", what=what),
        series=("gap",),
        has_zero=True,
    )


def _gap_rows(
    study: Study, chosen: tuple[Cell, ...], held_out: Split, metric: str
) -> Iterator[Row]:
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    for cell in chosen:
        for panel, series, spread in (
            ("d-final", "train", cell.final("train", metric)),
            ("d-final", held_out, cell.final(held_out, metric)),
            ("d-gap", "gap", cell.final_gap(held_out, metric)),
        ):
            if spread is not None:
                name = {"panel": panel, "series": series, "batch": labels[cell.batch_size]}
                yield from size_rows(name, cell.batch_size, spread.mean, spread)


def _gap_notes(study: Study, chosen: tuple[Cell, ...], held_out: Split | None) -> Iterator[str]:
    if held_out == "validation":
        yield text("There is no test set: the gap is train − validation metric.")
    if study.workload.metrics[0].better == "lower":
        yield text(
            "{metric} is better when lower, so a gap below 0 means that the model does better on "
            "train data.",
            metric=label_text(study.workload.metrics[0].name),
        )
    if len({cell.batch_size for cell in chosen}) == 1:
        yield text("One batch size only: there is nothing to compare it with.")
    if max((len(cell.ended_well) for cell in chosen), default=0) > 1:
        yield text("Large marks are means, small circles single seeds, bars their range.")
    else:
        yield text("One seed only: the spread between seeds is not known.")
    yield from rate_notes(study, chosen)


def _gap_table(chosen: tuple[Cell, ...], held_out: Split | None, metric: str) -> Table:
    rows: list[tuple[Value, ...]] = []
    for cell in chosen:
        gap = None if held_out is None else cell.final_gap(held_out, metric)
        finals = [cell.final(split, metric) for split in SPLITS]
        rows.append(
            (
                cell.batch_size,
                cell.learning_rate,
                len(cell.ended_well),
                *(None if final is None else final.mean for final in finals),
                *((gap.mean, gap.low, gap.high) if gap else (None, None, None)),
            )
        )
    return Table(
        caption=text("Final metrics and gap: means over the seeds that ended well"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="n", quantity="n", label=text("seeds")),
            *(
                Column(key=f"{s}_{metric}", quantity=metric, label=split_label(s, metric))
                for s in SPLITS
            ),
            Column(key="generalization_gap", quantity="generalization_gap", label=text("gap")),
            Column(key="gap_low", quantity="generalization_gap", label=text("lowest gap")),
            Column(key="gap_high", quantity="generalization_gap", label=text("highest gap")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


ROWS = (FigureRow(key="d", name="gap", build=partial(gap_figure, key="d")),)
