"""Summary table: one row a batch size, for the first screen and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.measure.measurements import measurement_rows
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.report.parts.figure import SPLITS
from batchlab.report.parts.held_out import held_out_split
from batchlab.report.parts.quantity_text import label_text
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.parts.term_text import term_text
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.figure_looks import figure_looks
from batchlab.words.catalogue import text

# What stands beside the picture on a page; a terminal has room for the rest.
_ON_A_PAGE = ("batch", "learning_rate", "train", "validation", "test", "generalization_gap")


def first_table(study: Study, chosen: Sequence[Cell]) -> Table:
    """The final metrics and the gap: what a page shows first; the rest is in its figures."""
    whole = summary_table(study, chosen)
    return whole.only(column.key for column in whole.columns if column.key in _ON_A_PAGE)


def summary_table(study: Study, chosen: Sequence[Cell]) -> Table:
    """Final metrics, gap, step time, throughput and memory of every batch size that is shown."""
    metric = study.workload.metrics[0].name
    held_out = held_out_split(study)
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    of_batch_sizes = [row for row in measurement_rows().values() if row.of_batch_size is not None]
    rows: list[tuple[Value, ...]] = []
    for cell in chosen:
        finals = [cell.final(split, metric) for split in SPLITS]
        gap = None if held_out is None else cell.final_gap(held_out, metric)
        rows.append(
            (
                labels[cell.batch_size],
                cell.learning_rate,
                len(cell.ended_well),
                *(None if final is None else final.mean for final in finals),
                None if gap is None else gap.mean,
                *(row.value_of(study, cell.batch_size) for row in of_batch_sizes),
            )
        )
    return Table(
        caption=text(
            "By batch size: final {metric}, mean over the seeds that ended well",
            metric=label_text(metric),
        ),
        columns=(
            Column(key="batch", quantity="batch", label=text("batch size")),
            Column(key="learning_rate", quantity="learning_rate", label=text("rate")),
            Column(key="n", quantity="n", label=text("seeds")),
            *(Column(key=split, quantity=metric, label=term_text(split)) for split in SPLITS),
            Column(key="generalization_gap", quantity="generalization_gap", label=text("gap")),
            *map(_measured_column, of_batch_sizes),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def _measured_column(measurement: Measurement) -> Column:
    """Room is scarce here: the short header where the measurement has one."""
    name, short = measurement.quantity.name, measurement.short
    return Column(key=name, quantity=name, label=None if short is None else text(short))
