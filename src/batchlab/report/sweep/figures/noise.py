"""Figure (g): what the noise of the batches does to the weights on their way, and at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from batchlab.measure.measurements import measurement_rows, on_request
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.report.cells import (
    Cell,
    chosen_cells,
    figure_looks,
    measured_first,
    measured_in_seeds,
    measured_last,
    rate_notes,
    size_rows,
    spread_row,
    spread_text,
    thinned,
)
from batchlab.report.parts.charts.axes import ratio_y, view_x
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.size_panel import size_words
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import label_text
from batchlab.words.catalogue import text

_MOST_POINTS = 60  # of a line
_MOST_MARKS = 8
# What is shown by batch size, and which of a trial's values.
_BY_SIZE = {"at_the_start": measured_first, "at_the_end": measured_last}


def noise_figure(study: Study, *, key: str) -> Figure:
    """What was measured of the models at their steps, along training and at its end."""
    chosen = chosen_cells(study)
    rows = tuple(_rows(study, chosen, key))
    panels = tuple(
        _panel(study, chosen, row, own, key=_panel_key(key, row))
        for row in _shown()
        if (own := [each for each in rows if each["panel"] == _panel_key(key, row)])
    )
    return Figure(
        key=key,
        title=text("What the noise does"),
        notes=tuple(_notes(study, chosen, {panel.key for panel in panels}, key)),
        absent=None if panels else text("No model was measured on its way."),
        panels=panels,
        data="noise",
        rows=rows,
        table=_table(chosen),
    )


def _shown() -> list[Measurement]:
    """The measurements of a model at a step, those that were asked for first."""
    rows = [row for row in measurement_rows().values() if row.of_batch_size is None and row.figure]
    return sorted(rows, key=lambda row: (not row.on_request, row.figure != "along_training"))


def _panel_key(key: str, row: Measurement) -> str:
    return f"{key}-{row.quantity.name}"


def _rows(study: Study, chosen: tuple[Cell, ...], key: str) -> Iterator[Row]:
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    for row in _shown():
        for cell in chosen:
            name = {"panel": _panel_key(key, row), "batch": labels[cell.batch_size]}
            if row.figure in _BY_SIZE:
                seen = _BY_SIZE[row.figure](cell, row)
                if seen is not None and row.of_seeds(seen.values) != 0:  # which has no place there
                    middle = row.of_seeds(seen.values)
                    yield from size_rows(name | {"series": "end"}, cell.batch_size, middle, seen)
                continue
            # The axis is logarithmic: it has no place for the initial weights.
            taken = tuple(point for point in measured_in_seeds(cell, row) if point.step > 0)
            shown = thinned(taken, _MOST_POINTS)
            marked = {point.step for point in thinned(shown, _MOST_MARKS)}
            for point in shown:
                yield {
                    **name,
                    "run": "mean",
                    "epoch": rounded(point.epoch),
                    "step": point.step,
                    **spread_row(point.spread),
                    "marked": point.step in marked,
                }
        yield from _expected_rows(study, chosen, row, _panel_key(key, row))


def _expected_rows(
    study: Study, chosen: tuple[Cell, ...], row: Measurement, panel: str
) -> Iterator[Row]:
    """The dashed line of theory through what was measured by batch size."""
    if row.expected is None or row.figure not in _BY_SIZE:
        return
    seen = {cell.batch_size: _BY_SIZE[row.figure](cell, row) for cell in chosen}
    values = {size: row.of_seeds(spread.values) for size, spread in seen.items() if spread}
    for size, value in sorted(row.expected(values, study).items()):
        yield {
            "panel": panel,
            "kind": "rule",
            "series": "expected",
            "batch_size": size,
            "mean": rounded(value),
        }


def _panel(
    study: Study, chosen: tuple[Cell, ...], row: Measurement, rows: list[Row], *, key: str
) -> Panel:
    name, looks = row.quantity.name, figure_looks(study)
    drawn = partial(chart, "noise", where=in_panel(key), name=name, looks=looks)
    if row.figure in _BY_SIZE:
        when = "{what}, at the start" if row.figure == "at_the_start" else "{what}, at the end"
        seen = tuple(each for each in rows if each.get("kind") != "rule")
        return Panel(
            key=key,
            title=text(when, what=label_text(name)),
            alternative=size_words(label_text(name), name, seen, key),
            plot=partial(
                drawn,
                x=partial(batch_size_x, looks),
                y=partial(ratio_y, name, rows_domain(rows)),
                kinds=frozenset({"whole", "single", "rule"}),
                series=("end",),
            ),
        )
    steps = [float(each["step"] or 0.0) for each in rows]
    return Panel(
        key=key,
        title=label_text(name),
        alternative=_along_words(chosen, row),
        plot=partial(
            drawn,
            x=partial(view_x, "step", (min(steps), max(steps))),
            y=partial(ratio_y, name, rows_domain(rows)),
            kinds=frozenset({"seeds", "marks"}),
        ),
    )


def _along_words(chosen: tuple[Cell, ...], row: Measurement) -> str:
    ends = [
        text(
            "batch size {batch_size}: {value}",
            batch_size=cell.batch_size,
            value=spread_text(row.quantity.name, last),
        )
        for cell in chosen
        if (last := measured_last(cell, row)) is not None
    ]
    return text(
        "Line chart of {what} against {axis}, one line a batch size. At the end: {ends}.",
        what=label_text(row.quantity.name),
        axis=label_text("step"),
        ends="; ".join(ends),
    )


def _notes(
    study: Study, chosen: tuple[Cell, ...], panels: Iterable[str], key: str
) -> Iterator[str]:
    shown = [row for row in _shown() if _panel_key(key, row) in panels]
    drawn = replace(study, records=tuple(record for cell in chosen for record in cell.records))
    yield from (note for row in shown for note in row.notes(drawn))
    names = {row.quantity.name for row in shown}
    missing = [name for name in on_request() if name not in names]
    if missing:
        yield text(
            "Not measured here: {missing}. {command} measures them at the start and where an epoch "
            "ends.",
            missing=", ".join(map(label_text, missing)),
            command=" ".join(["batchlab sweep", *(f"--measure {name}" for name in missing)]),
        )
    if max((len(cell.ended_well) for cell in chosen), default=0) > 1:
        yield text(
            "Lines and large marks are means over the seeds, bands and bars reach from the lowest "
            "to the highest, small circles are single seeds."
        )
    elif shown:
        yield text("One seed only: the spread between seeds is not known.")
    yield from rate_notes(study, chosen)


def _table(chosen: tuple[Cell, ...]) -> Table:
    shown = _shown()
    rows: list[tuple[Value, ...]] = []
    for cell in chosen:
        ends = [_BY_SIZE.get(row.figure or "", measured_last)(cell, row) for row in shown]
        rows.append(
            (
                cell.batch_size,
                cell.learning_rate,
                *(
                    None if end is None else row.of_seeds(end.values)
                    for row, end in zip(shown, ends, strict=True)
                ),
                len(cell.ended_well),
            )
        )
    return Table(
        caption=text("Measured last, or at the start: means over the seeds that ended well"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            *(_column(row) for row in shown),
            Column(key="n", quantity="n", label=text("seeds")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def _column(row: Measurement) -> Column:
    name = row.quantity.name
    if row.figure != "at_the_start":
        return Column(key=name, quantity=name)
    label = text("{what}, at the start", what=label_text(name))
    return Column(key=name, quantity=name, label=label)


ROWS = (FigureRow(key="g", name="noise", build=partial(noise_figure, key="g")),)
