"""The charts of what batch size does, which a sweep and an advice draw alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.records.study import Study
from batchlab.report.cells import Spread, deciding_split
from batchlab.report.chart import LOG_METRIC, size_panel
from batchlab.report.effects import Effect
from batchlab.report.figure import Panel, Row, rounded, size_rows
from batchlab.report.palette import Look
from batchlab.report.text import label_text, split_label, term_text
from batchlab.words.catalogue import text


def plateau_rows(effect: Effect, label: str) -> Iterator[Row]:
    """The epochs to the plateau, and bounds of those that had not reached it."""
    if effect.plateau_epochs:
        yield from effect_rows(effect, "epochs", label, Spread(values=effect.plateau_epochs))
    for epochs in effect.unfinished_epochs:
        yield {
            "panel": "h-epochs",
            "batch": label,
            "batch_size": effect.batch_size,
            "kind": "bound",
            "mean": rounded(epochs),
            "learning_rate": rounded(effect.learning_rate),
        }


def jumps_rows(effect: Effect, label: str) -> Iterator[Row]:
    """The noise of the metric."""
    if effect.noises:
        yield from effect_rows(effect, "noise", label, Spread(values=effect.noises))


def effect_rows(
    effect: Effect, panel: str, label: str, spread: Spread, series: str | None = None
) -> Iterator[Row]:
    """What the seeds of an effect have, in a panel of the figure of effects."""
    named: Row = {"panel": f"h-{panel}", "batch": label}
    if series is not None:
        named["series"] = series
    for row in size_rows(named, effect.batch_size, spread.mean, spread.values):
        yield {**row, "learning_rate": rounded(effect.learning_rate)}


def plateau_panel(rows: Sequence[Row], looks: Sequence[Look]) -> Panel:
    """The epochs to the plateau by batch size."""
    title = text("epochs until the plateau")
    return size_panel(rows, looks, "h-epochs", "epoch", title)


def jumps_panel(study: Study, rows: Sequence[Row], looks: Sequence[Look]) -> Panel:
    """The noise of the metric by batch size."""
    what = split_label(deciding_split(study), study.workload.metrics[0].name)
    title = text("jumps of {what} between evaluations", what=what)
    return size_panel(rows, looks, "h-noise", "metric_noise", title, log_from=LOG_METRIC)


def finals_panel(
    rows: Sequence[Row], looks: Sequence[Look], key: str, metric: str, held_out: str
) -> Panel:
    """The final metric of train and held-out data by batch size, where there is a train metric."""
    label, split = label_text(metric), term_text(held_out)
    title = text("final {metric}: train (solid line), {split} (dashed)", metric=label, split=split)
    what = text("final train and {split} {metric}", split=split, metric=label)
    if not any(row["panel"] == key and row.get("series") == "train" for row in rows):
        title = text("final {metric}: {split}", metric=label, split=split)
        what = text("final {split} {metric}", split=split, metric=label)
    series = ("train", held_out)
    return size_panel(
        rows, looks, key, metric, title, what=what, series=series, log_from=LOG_METRIC
    )
