"""Figure (f): the final metric against the learning rate, for every batch size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.cells import (
    cells,
    chosen_cells,
    deciding_split,
    figure_looks,
    spread_row,
    spread_text,
    trial_words,
)
from batchlab.report.parts.charts.axes import measured_rates_x, value_y
from batchlab.report.parts.charts.chart import chart
from batchlab.report.parts.figure import Figure, Panel, Row, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import split_label, term_text
from batchlab.words.catalogue import text


def rate_figure(study: Study, *, key: str) -> Figure:
    """The final metric against the learning rate, for every batch size."""
    metric = study.workload.metrics[0].name
    split = deciding_split(study)
    rows = tuple(_rate_rows(study, split, metric))
    averaged = [row for row in rows if row["run"] == "mean"]
    rates = sorted({record.trial.learning_rate for record in study.records})
    absent = _absent(study, any_ended_well=bool(averaged))
    panel = Panel(
        key=f"{key}-rates",
        title=text("final {what}", what=split_label(split, metric)),
        alternative=_rate_words(study, split, metric),
        plot=partial(
            chart,
            "rates",
            where=None,
            x=partial(measured_rates_x, rates),
            y=partial(value_y, metric, rows_domain(averaged)),
            name=metric,
            kinds=frozenset({"seeds", "chosen", "mean", "foot"}),
            looks=figure_looks(study),
        ),
    )
    return Figure(
        key=key,
        title=text("Metric against learning rate"),
        notes=(
            text(
                "A ring marks the rate whose curves are shown above: the best on {split} data.",
                split=term_text(split),
            ),
            text("A × on the axis is a trial that ended badly or has not ended at that rate."),
        ),
        absent=absent,
        panels=() if absent else (panel,),
        data="rates",
        rows=rows,
        table=rate_table(study, split, metric),
    )


def _absent(study: Study, *, any_ended_well: bool) -> str | None:
    n_rates = len({record.trial.learning_rate for record in study.records})
    if n_rates == 0:
        return text("No trials have been run.")
    if n_rates == 1:
        return text(
            "One learning rate was run, so nothing can be said about others; add some with "
            "--learning-rates."
        )
    return None if any_ended_well else text("No trial at any learning rate ended well.")


def _rate_rows(study: Study, split: Split, metric: str) -> Iterator[Row]:
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    chosen = {(cell.batch_size, cell.learning_rate) for cell in chosen_cells(study)}
    n_crosses: dict[float, int] = {}
    for cell in cells(study):
        base: Row = {
            "batch": labels[cell.batch_size],
            "batch_size": cell.batch_size,
            "learning_rate": cell.learning_rate,
        }
        final = cell.final(split, metric)
        if final is not None:
            is_chosen = (cell.batch_size, cell.learning_rate) in chosen
            yield {**base, "run": "mean", "chosen": is_chosen, **spread_row(final)}
        for record in cell.others:
            place = n_crosses.get(cell.learning_rate, 0)
            n_crosses[cell.learning_rate] = place + 1
            yield {**base, "run": trial_words(record), "place": place}


def _rate_words(study: Study, split: Split, metric: str) -> str:
    best = [
        text(
            "batch size {batch_size}: best at {rate:learning_rate} with {value}",
            batch_size=cell.batch_size,
            rate=rate,
            value=spread_text(metric, final),
        )
        for cell in chosen_cells(study)
        if (final := cell.final(split, metric)) and (rate := cell.learning_rate)
    ]
    return text(
        "Line chart of final {what} against learning rate, one line a batch size. {best}.",
        what=split_label(split, metric),
        best="; ".join(best),
    )


def rate_table(study: Study, split: Split, metric: str) -> Table:
    """The final metric of every cell, and the trials that are in no mean."""
    chosen = {(cell.batch_size, cell.learning_rate) for cell in chosen_cells(study)}
    rows: list[tuple[Value, ...]] = []
    for cell in cells(study):
        final = cell.final(split, metric)
        rows.append(
            (
                cell.batch_size,
                cell.learning_rate,
                *((final.mean, final.low, final.high) if final else (None, None, None)),
                len(cell.ended_well),
                "; ".join(trial_words(record) for record in cell.others),
                text("best") if final and (cell.batch_size, cell.learning_rate) in chosen else "",
            )
        )
    label = split_label(split, metric)
    return Table(
        caption=text("Final {what} by batch size and learning rate", what=label),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key=f"{split}_{metric}", quantity=metric, label=text("mean {what}", what=label)),
            Column(key="low", quantity=metric, label=text("lowest")),
            Column(key="high", quantity=metric, label=text("highest")),
            Column(key="n", quantity="n", label=text("seeds")),
            Column(key="others", quantity="status", label=text("not averaged")),
            Column(key="chosen", quantity="chosen", label=text("shown above")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


ROWS = (FigureRow(key="f", name="learning-rates", build=partial(rate_figure, key="f")),)
