"""Text: a study as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.measurements.registry import measurement_rows
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.report.parts.figure import SPLITS
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.parts.term_text import term_text
from batchlab.report.parts.wrapped_text import wrapped_text
from batchlab.report.sweep.cells import Cell, chosen_cells, deciding_split, held_out_split
from batchlab.report.sweep.curves import mean_curve
from batchlab.report.sweep.figure_looks import figure_looks
from batchlab.report.sweep.figures.learning_rate import rate_table
from batchlab.report.sweep.sentences import EQUAL_BUDGETS, FINAL_METRICS, sentences
from batchlab.report.sweep.trial_ending import trial_counts
from batchlab.words.catalogue import text

BARS = "▁▂▃▄▅▆▇█"
CURVE_CHARACTERS = 24


def text_report(study: Study) -> str:
    """The report of a study as plain text: what was seen, small tables, curves, bad trials.

    Args:
        study: the study; trials that have not ended are shown as such.

    Returns:
        Lines as wide as the terminal, else 88, where words can be wrapped, ended by a newline.
    """
    parts = [part for part in _parts(study) if part]
    return "\n\n".join(parts) + "\n"


def sweep_headline(study: Study) -> str:
    """What is read first: how the trials ended, and whether the equal budgets have one winner."""
    winners = [str(said) for said in sentences(study) if said.topic == EQUAL_BUDGETS]
    return "".join(f"{wrapped_text(said)}\n" for said in (trial_counts(study), *winners))


def _parts(study: Study) -> Iterator[str]:
    yield f"{study.workload.name}\n{wrapped_text(trial_counts(study))}"
    yield "\n".join(
        wrapped_text(f"- {sentence}")
        for sentence in sentences(study)
        if sentence.topic != FINAL_METRICS  # the table below has them
    )
    if not study.records:
        return
    chosen = chosen_cells(study)
    table = _batch_size_table(study, chosen)
    yield f"{wrapped_text(table.caption)}\n{table.to_text()}"
    yield _curves_text(study, chosen)
    if len({record.trial.learning_rate for record in study.records}) > 1:
        rates = rate_table(study, deciding_split(study), study.workload.metrics[0].name)
        yield f"{wrapped_text(rates.caption)}\n{rates.to_text()}"
    yield text("Command: {command}", command=study.command)


def _batch_size_table(study: Study, chosen: Sequence[Cell]) -> Table:
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


def _curves_text(study: Study, chosen: Sequence[Cell]) -> str:
    """The held-out metric along the epochs, one line a batch size, all on one scale."""
    metric = study.workload.metrics[0].name
    split = held_out_split(study) or "train"
    curves = {
        cell.batch_size: [
            point.spread.mean
            for point in mean_curve(cell, split, metric, None)
            if point.step and point.epoch == int(point.epoch)
        ]
        for cell in chosen
    }
    values = [value for curve in curves.values() for value in curve]
    if not values:
        return ""
    low, high = min(values), max(values)
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    width = max(map(len, labels.values()))
    lines = [
        f"{labels[batch_size]:>{width}}  {_bars(curve, low, high)}  "
        f"{quantity_text(metric, curve[-1])}"
        for batch_size, curve in curves.items()
        if curve
    ]
    caption = text(
        "{split} {metric} by epoch, from {low} ({low_bar}) to {high} ({high_bar})",
        split=term_text(split),
        metric=label_text(metric),
        low=quantity_text(metric, low),
        low_bar=BARS[0],
        high=quantity_text(metric, high),
        high_bar=BARS[-1],
    )
    return "\n".join([wrapped_text(caption), *lines])


def _bars(curve: Sequence[float], low: float, high: float) -> str:
    last = len(curve) - 1
    n = min(len(curve), CURVE_CHARACTERS)
    shown = [curve[round(i * last / max(1, n - 1))] for i in range(n)]
    room = high - low or 1.0
    return "".join(BARS[round((value - low) / room * (len(BARS) - 1))] for value in shown)
