"""Figure (h): what batch size does here: epochs that are enough, noise, and the gap."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice_effects import Effects, EpochsToTarget, effects_of, effects_table
from batchlab.report.advice_rows import advice_looks, drawn_looks, label_of
from batchlab.report.advice_words import target_text
from batchlab.report.cells import Spread, deciding_split, finals, held_out_split, size_rows
from batchlab.report.effects import NOISE_NOTE, PLATEAU_NOTE, UNFINISHED_NOTE, Effect
from batchlab.report.parts.figure import Figure, Panel, Row, estimate_row, rounded
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.palette import Look
from batchlab.report.parts.size_panel import size_panel
from batchlab.report.text import label_text, split_label, term_text
from batchlab.words.catalogue import text


def effects_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """Epochs, noise and the train and held-out metric of whole trainings, by batch size."""
    effects = effects_of(advice, study)
    looks = advice_looks(advice, study)
    rows = tuple(_rows(study, effects, looks, key))
    panels = tuple(_panels(advice, study, effects, rows, key))
    return Figure(
        key=key,
        title=text("What batch size does, each at its own learning rate"),
        notes=tuple(_notes(study, effects)),
        absent=None
        if panels
        else text("No two batch sizes were trained far enough to compare what they do."),
        panels=panels,
        data="effects",
        rows=rows,
        table=effects_table(study, effects),
    )


def _rows(study: Study, effects: Effects, looks: tuple[Look, ...], key: str) -> Iterator[Row]:
    metric, split = study.workload.metrics[0].name, held_out_split(study)

    def named(panel: str, size: int, series: str = "end") -> dict[str, str]:
        return {"panel": f"{key}-{panel}", "series": series, "batch": label_of(looks, size)}

    if effects.shows_epochs:
        for each in effects.to_target:
            yield from _target_rows(each, named("epochs", each.batch_size))
    if effects.shows_plateaus:
        for effect in effects.flat:
            yield from _plateau_rows(effect, named("epochs", effect.batch_size))
    if effects.shows_noise:
        for effect in effects.noisy:
            spread = Spread(values=effect.noises)
            yield from _spread_rows(effect, named("noise", effect.batch_size), spread)
    if effects.shows_gap and split is not None:
        for effect in effects.ends:
            for series in ("train", split):
                found = finals(effect.records, series, metric)
                yield from _spread_rows(effect, named("gap", effect.batch_size, series), found)


def _target_rows(each: EpochsToTarget, named: dict[str, str]) -> Iterator[Row]:
    base: Row = {
        **named,
        "batch_size": each.batch_size,
        "learning_rate": rounded(each.learning_rate),
    }
    if each.enough is not None and each.estimate is not None:
        yield {**base, "kind": "point", "whole": True, **estimate_row(each.estimate)}
    if each.enough is None or each.is_estimated or len(each.met) > 1:
        for epochs in each.met:
            yield {**base, "kind": "run", "whole": False, "mean": rounded(epochs)}
    for epochs in each.missed:
        yield {**base, "kind": "bound", "mean": rounded(epochs)}


def _plateau_rows(effect: Effect, named: dict[str, str]) -> Iterator[Row]:
    if effect.plateau_epochs:
        yield from _spread_rows(effect, named, Spread(values=effect.plateau_epochs))
    for epochs in effect.unfinished_epochs:
        row: Row = {**named, "batch_size": effect.batch_size, "kind": "bound"}
        yield {**row, "learning_rate": rounded(effect.learning_rate), "mean": rounded(epochs)}


def _spread_rows(effect: Effect, named: dict[str, str], spread: Spread | None) -> Iterator[Row]:
    if spread is not None:
        for row in size_rows(named, effect.batch_size, spread.mean, spread):
            yield {**row, "learning_rate": rounded(effect.learning_rate)}


def _panels(
    advice: Advice, study: Study, effects: Effects, rows: tuple[Row, ...], key: str
) -> Iterator[Panel]:
    looks = drawn_looks(advice_looks(advice, study), rows)
    metric, split = study.workload.metrics[0].name, held_out_split(study)
    if effects.shows_epochs or effects.shows_plateaus:
        is_to_target = advice.target is not None
        yield size_panel(
            "effects",
            rows,
            looks,
            key=f"{key}-epochs",
            quantity="epochs_to_target" if is_to_target else "epoch",
            title=text("epochs until the plateau")
            if advice.target is None
            else text("epochs to {target}", target=target_text(advice.target)),
            series=("end",),
        )
    if effects.shows_noise:
        what = split_label(deciding_split(study), metric)
        yield size_panel(
            "effects",
            rows,
            looks,
            key=f"{key}-noise",
            quantity="metric_noise",
            title=text("jumps of {what} between evaluations", what=what),
            series=("end",),
        )
    if effects.shows_gap and split is not None:
        label, other = label_text(metric), term_text(split)
        yield size_panel(
            "effects",
            rows,
            looks,
            key=f"{key}-gap",
            quantity=metric,
            title=text(
                "final {metric}: train (solid line), {split} (dashed)", metric=label, split=other
            ),
            what=text("final train and {split} {metric}", split=other, metric=label),
            series=("train", split),
        )


def _notes(study: Study, effects: Effects) -> Iterator[str]:
    if effects.shows_epochs:
        yield from _target_notes(effects)
    if effects.shows_plateaus:
        yield text(PLATEAU_NOTE)
        if any(effect.unfinished_epochs for effect in effects.flat):
            yield text(UNFINISHED_NOTE)
    if effects.shows_noise:
        yield text(NOISE_NOTE)
    if effects.shows_gap:
        yield text(
            "The gap is the distance from train to {split}, at the end of whole trainings.",
            split=term_text(held_out_split(study) or "test"),
        )
        if len({round(record.epochs) for e in effects.ends for record in e.records}) > 1:
            yield text("These trainings are not equally long: the table has their epochs.")
    noisy = effects.noisy if effects.shows_noise else ()
    ends = effects.ends if effects.shows_gap else ()
    if any(len(effect.records) > 1 for effect in (*noisy, *ends)):
        yield text("Jumps and metrics: the mark is the mean of the seeds, the bar their range.")


def _target_notes(effects: Effects) -> Iterator[str]:
    if any(each.is_estimated for each in effects.to_target):
        yield text(
            "Epochs: the mark is the estimate with its 95 % interval, a small circle one run on a "
            "fresh seed."
        )
    if any(each.enough is not None and not each.is_estimated for each in effects.to_target):
        yield text(
            "Epochs without an interval are of single runs. Where these chose the learning rate "
            "too, they look a little better than they are."
        )
    if any(each.missed for each in effects.to_target):
        yield text("↑: a run that had not reached the target by then.")


ROWS = (
    FigureRow(
        key="h",
        name="effects",
        build=lambda advice, study, profile: effects_figure(advice, study, key="h"),
    ),
)
