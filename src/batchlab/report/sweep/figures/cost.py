"""Figure (e): time per step, throughput and memory by batch size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.measure.measurements import measurement_rows
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.report.cells import Spread, figure_looks, size_rows
from batchlab.report.parts.figure import Figure, Row
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.size_panel import size_panel
from batchlab.report.table import Column, Table, Value
from batchlab.words.catalogue import text


def cost_figure(study: Study, *, key: str) -> Figure:
    """Time per step, throughput and peak memory by batch size."""
    rows = tuple(_cost_rows(study))
    looks = figure_looks(study)
    panels = tuple(
        size_panel(
            "cost",
            rows,
            looks,
            key=f"{key}-{name}",
            quantity=name,
            title=text(measurement.quantity.label),
            series=("timing",),
        )
        for measurement in _shown()
        for name in [measurement.quantity.name]
        if any(row["panel"] == f"{key}-{name}" for row in rows)
    )
    return Figure(
        key=key,
        title=text("Time per step, throughput and memory by batch size"),
        notes=tuple(note for row in _shown() for note in row.notes(study)) if rows else (),
        absent=None if rows else text("Neither step times nor memory were measured in this study."),
        panels=panels,
        data="cost",
        rows=rows,
        table=_cost_table(study),
    )


def _cost_rows(study: Study) -> Iterator[Row]:
    for look in figure_looks(study):
        for measurement in _shown():
            assert measurement.of_batch_size is not None
            name = measurement.quantity.name
            found = measurement.of_batch_size(study, look.batch_size)
            if found is not None:
                middle, values = found
                yield from size_rows(
                    {"panel": f"e-{name}", "series": "timing", "batch": look.label},
                    look.batch_size,
                    middle,
                    Spread(values=values),
                )


def _shown() -> list[Measurement]:
    """The measurements that say that this figure shows them."""
    return [row for row in measurement_rows().values() if row.figure == "cost"]


def _cost_table(study: Study) -> Table:
    shown = _shown()
    return Table(
        caption=text("Time per step (median of blocks), throughput and peak memory"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            *(column for row in shown for column in _columns(row)),
            Column(key="threads", quantity="threads", label=text("threads")),
        ),
        rows=tuple(
            (
                batch_size,
                *(value for row in shown for value in _values(row, study, batch_size)),
                None if (timing := study.timing(batch_size)) is None else timing.threads,
            )
            for batch_size in study.batch_sizes
        ),
    ).without_empty_columns()


def _columns(measurement: Measurement) -> Iterator[Column]:
    name = measurement.quantity.name
    yield Column(key=name, quantity=name)
    for end, header in zip(("low", "high"), measurement.range_headers or (), strict=False):
        yield Column(key=f"{name}_{end}", quantity=name, label=text(header))


def _values(measurement: Measurement, study: Study, batch_size: int) -> Iterator[Value]:
    assert measurement.of_batch_size is not None
    middle, taken_from = measurement.of_batch_size(study, batch_size) or (None, ())
    yield middle
    if measurement.range_headers:
        yield from (min(taken_from, default=None), max(taken_from, default=None))


ROWS = (FigureRow(key="e", name="cost", build=partial(cost_figure, key="e")),)
