"""Figure (h): what batch size does here: how many epochs are enough, how much a metric jumps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.records.study import Study
from batchlab.report.cells import Spread, deciding_split, figure_looks, size_rows
from batchlab.report.effects import NOISE_NOTE, PLATEAU_NOTE, UNFINISHED_NOTE, Effect, effects
from batchlab.report.parts.figure import Figure, Panel, Row, rounded
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.size_panel import size_panel
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import split_label
from batchlab.words.catalogue import text


def effects_figure(study: Study, *, key: str) -> Figure:
    """The epochs to the plateau and the noise of the metric, by batch size."""
    found = effects(study)
    rows = tuple(_rows(study, found, key))
    panels = tuple(_panels(study, rows, key))
    return Figure(
        key=key,
        title=text("Epochs that are enough, and noise, by batch size"),
        notes=tuple(_notes(rows)),
        absent=None
        if panels
        else text("No trial was evaluated often enough to see its plateau or its noise."),
        panels=panels,
        data="effects",
        rows=rows,
        table=_table(found),
    )


def _rows(study: Study, found: tuple[Effect, ...], key: str) -> Iterator[Row]:
    labels = {look.batch_size: look.label for look in figure_looks(study)}
    for effect in found:
        size = effect.batch_size
        for panel, values in (("epochs", effect.plateau_epochs), ("noise", effect.noises)):
            if values:
                spread = Spread(values=values)
                name = {"panel": f"{key}-{panel}", "series": "end", "batch": labels[size]}
                yield from size_rows(name, size, spread.mean, spread)
        for epochs in effect.unfinished_epochs:
            yield {
                "panel": f"{key}-epochs",
                "kind": "bound",
                "batch": labels[size],
                "batch_size": size,
                "mean": rounded(epochs),
            }


def _panels(study: Study, rows: tuple[Row, ...], key: str) -> Iterator[Panel]:
    metric = study.workload.metrics[0].name
    what = split_label(deciding_split(study), metric)
    for panel, quantity, title in (
        (f"{key}-epochs", "epoch", text("epochs until the plateau")),
        (f"{key}-noise", "metric_noise", text("jumps of {what} between evaluations", what=what)),
    ):
        if any(row["panel"] == panel for row in rows):
            yield size_panel(
                "effects",
                rows,
                figure_looks(study),
                key=panel,
                quantity=quantity,
                title=title,
                series=("end",),
            )


def _notes(rows: tuple[Row, ...]) -> Iterator[str]:
    panels = {str(row["panel"]).rpartition("-")[2] for row in rows}
    if "epochs" in panels:
        yield text(PLATEAU_NOTE)
    if any(row.get("kind") == "bound" for row in rows):
        yield text(UNFINISHED_NOTE)
    if "noise" in panels:
        yield text(NOISE_NOTE)


def _table(found: tuple[Effect, ...]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for effect in found:
        epochs, noises = effect.plateau_epochs, effect.noises
        rows.append(
            (
                effect.batch_size,
                len(effect.records),
                sum(epochs) / len(epochs) if epochs else None,
                len(effect.unfinished_epochs),
                sum(noises) / len(noises) if noises else None,
            )
        )
    return Table(
        caption=text("Plateau and noise: means over the seeds that reached their plateau"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="n", quantity="n", label=text("seeds")),
            Column(key="plateau_epoch", quantity="epoch", label=text("epochs until the plateau")),
            Column(key="n_unfinished", quantity="n", label=text("still improving")),
            Column(key="noise", quantity="metric_noise", label=text("jumps")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


ROWS = (FigureRow(key="h", name="effects", build=partial(effects_figure, key="h")),)
