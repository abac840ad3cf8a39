"""Figure (e): time per step, throughput and memory by batch size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.measurements.registry import measurement_rows
from batchlab.records.measurement import Measurement
from batchlab.records.quantities import QUANTITIES
from batchlab.records.study import Study
from batchlab.report.parts.charts.axes import value_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, list_text, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.sweep.figure_looks import figure_looks
from batchlab.report.sweep.spread import Spread, size_rows, size_words
from batchlab.words.catalogue import text


def cost_figure(study: Study, *, key: str) -> Figure:
    """Time per step, throughput and peak memory by batch size."""
    rows = tuple(_cost_rows(study))
    looks = figure_looks(study)
    panels = tuple(
        Panel(
            key=f"{key}-{name}",
            title=text(measurement.quantity.label),
            alternative=size_words(text(measurement.quantity.label), name, rows, f"{key}-{name}"),
            plot=partial(
                chart,
                "cost",
                where=in_panel(f"{key}-{name}"),
                x=partial(batch_size_x, looks),
                y=partial(value_y, name, rows_domain(own)),
                name=name,
                kinds=frozenset({"whole", "single"}),
                looks=looks,
                series=("timing",),
            ),
        )
        for measurement in _shown()
        for name in [measurement.quantity.name]
        if (own := [row for row in rows if row["panel"] == f"{key}-{name}"])
    )
    return Figure(
        key=key,
        title=text("Time per step, throughput and memory by batch size"),
        notes=tuple(_cost_notes(study, rows)),
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
    """The measurements that say that this figure shows them, in the order of the quantities."""
    order = [quantity.name for quantity in QUANTITIES]
    shown = [row for row in measurement_rows().values() if row.figure == "cost"]
    return sorted(
        shown,
        key=lambda row: order.index(name) if (name := row.quantity.name) in order else len(order),
    )


def _cost_notes(study: Study, rows: tuple[Row, ...]) -> Iterator[str]:
    if any(row["panel"] == "e-step_s" for row in rows):
        blocks = max(len(timing.block_s) for timing in study.timings)
        threads = sorted({timing.threads for timing in study.timings})
        devices = sorted({timing.device for timing in study.timings})
        yield text(
            "Each batch size ran alone on {devices} with {threads} thread(s): large marks are the "
            "median of up to {blocks} blocks of steps, small circles single blocks, bars their "
            "range.",
            devices=list_text(devices),
            threads=list_text(threads),
            blocks=blocks,
        )
    elif rows:
        yield text(
            "No step time was measured alone: the trials' own clocks were shared and give none."
        )
    missing = [
        look.batch_size for look in figure_looks(study) if study.timing(look.batch_size) is None
    ]
    if missing and study.timings:
        yield text("No step time was measured alone for: {sizes}.", sizes=list_text(missing))
    if any(row["panel"] == "e-peak_bytes" for row in rows):
        yield text("Memory is the peak of the process above an idle one.")
    elif rows:
        yield text("Peak memory was not reported on this device.")


def _cost_table(study: Study) -> Table:
    rows: list[tuple[Value, ...]] = []
    for look in figure_looks(study):
        timing = study.timing(look.batch_size)
        blocks = () if timing is None else [b / timing.block_steps for b in timing.block_s]
        rows.append(
            (
                look.batch_size,
                None if timing is None else timing.step_s,
                min(blocks, default=None),
                max(blocks, default=None),
                None if timing is None else timing.samples_per_s,
                study.peak_bytes(look.batch_size),
                None if timing is None else timing.threads,
            )
        )
    return Table(
        caption=text("Time per step (median of blocks), throughput and peak memory"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="step_s", quantity="step_s"),
            Column(key="step_s_low", quantity="step_s", label=text("fastest block")),
            Column(key="step_s_high", quantity="step_s", label=text("slowest block")),
            Column(key="samples_per_s", quantity="samples_per_s"),
            Column(key="peak_bytes", quantity="peak_bytes"),
            Column(key="threads", quantity="threads", label=text("threads")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


ROWS = (FigureRow(key="e", name="cost", build=partial(cost_figure, key="e")),)
