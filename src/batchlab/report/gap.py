"""The gap between training and held-out data at the end of training, as a figure and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from batchlab.records.study import Study
from batchlab.report.cells import Cell, gap_quantity, held_out_split
from batchlab.report.figure import Figure, Panel, Row, size_rows
from batchlab.report.text import batch_text, label_text, quantity_text
from batchlab.words.catalogue import listing, plural, term_text, text


def gap_figure(study: Study, cells: Sequence[Cell]) -> Figure:
    """Draw the final metric on training and on held-out data by batch size."""
    metric, held_out = study.workload.metrics[0].name, held_out_split(study)
    rows = tuple(_rows(study, cells))
    title = text("final {metric}", metric=label_text(metric))
    series = {row.get("series") for row in rows}
    if len(series) == 2 and held_out is not None:
        title = text(
            "final {metric}: train solid, {split} dashed",
            metric=label_text(metric),
            split=term_text(held_out),
        )
    panel = Panel("e-gap", title, metric, rows, is_metric=True)
    sizes = {row["batch_size"] for row in rows}
    is_enough = len(sizes) > 1 and len(series) == 2
    said = _gap_text(study, cells)
    nothing = text("No two batch sizes were trained far enough to compare their gaps.")
    if held_out is None:
        nothing = text("There are no test and no validation data, so there is no gap to show.")
    return Figure(
        "e",
        "gap",
        text("Training and held-out data"),
        [panel] if is_enough else [],
        notes=(*([said] if said else []), text("Marks are means over seeds, bars their range.")),
        nothing=nothing,
    )


def _rows(study: Study, cells: Sequence[Cell]) -> Iterator[Row]:
    held_out = held_out_split(study)
    for cell in cells:
        if isinstance(cell.kind, str):
            continue  # a plan has no place on an axis of batch sizes
        for split in ("train", held_out):
            values = () if split is None else cell.final(study, split)
            if values:
                at: Row = {"batch_size": cell.batch_size, "learning_rate": cell.shown_rate}
                yield from size_rows(at | {"series": split}, values)


def _gap_text(study: Study, cells: Sequence[Cell]) -> str | None:
    """Return the gap of the smallest and largest batch size, or None if fewer than two have one."""
    split, metric = held_out_split(study), study.workload.metrics[0].name
    if split is None:
        return None
    gaps = {
        cell.batch_size: cell.final_gap(split, metric)
        for cell in cells
        if isinstance(cell.kind, int)
    }
    known = {size: gap for size, gap in gaps.items() if gap}
    if len(known) < 2:
        return None
    quantity = gap_quantity(study)
    ends = [
        text(
            "{gap} at {size}",
            size=batch_text(study, size),
            gap=plural(
                "{gap} ({n} run)",
                "{gap} ({n} runs)",
                len(known[size]),
                gap=quantity_text(quantity, fmean(known[size])),
            ),
        )
        for size in (min(known), max(known))
    ]
    return text(
        "Training minus {split} {metric} at the end: {ends}.",
        split=term_text(split),
        metric=label_text(metric),
        ends=listing(ends),
    )
