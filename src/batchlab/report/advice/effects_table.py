"""Effects table: the numbers of what batch size does, a row a batch size and learning rate."""

from __future__ import annotations

from statistics import fmean

from batchlab.records.study import Study
from batchlab.report.advice.effects import Effects
from batchlab.report.advice.epochs_to_target import EpochsToTarget
from batchlab.report.parts.effect import Effect
from batchlab.report.parts.held_out import final_gaps, finals, held_out_split
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.parts.term_text import split_label
from batchlab.words.catalogue import text

_Row = dict[str, Value]


def effects_table(study: Study, effects: Effects) -> Table:
    """The numbers; a batch size has two rows where its whole trainings are at another rate.

    Args:
        study: whose trials they are of.
        effects: what these show.
    """
    rows: dict[tuple[int, float], _Row] = {}
    for each in effects.to_target:
        rows.setdefault((each.batch_size, each.learning_rate), {}).update(_to_target(each))
    for effect in (*effects.flat, *effects.ends):
        rows.setdefault(_cell(effect), {}).update(_whole(effect))
    for effect in effects.flat:
        rows[_cell(effect)].update(_flat(effect, has_target=bool(effects.to_target)))
    for effect in effects.ends:
        rows[_cell(effect)].update(_end(study, effect))
    columns = _columns(study)
    return Table(
        caption=text("What batch size does, by batch size and learning rate"),
        columns=columns,
        rows=tuple(
            (size, rate, *(row.get(column.key) for column in columns[2:]))
            for (size, rate), row in sorted(rows.items())
        ),
    ).without_empty_columns()


def _cell(effect: Effect) -> tuple[int, float]:
    return effect.batch_size, effect.learning_rate


def _to_target(each: EpochsToTarget) -> _Row:
    row: _Row = {"n_met": len(each.met), "n_missed": len(each.missed)}
    if each.enough is None or each.estimate is None:
        return row
    return row | {"epochs": each.enough, "low": each.estimate.low, "high": each.estimate.high}


def _whole(effect: Effect) -> _Row:
    return {"whole_epochs": effect.records[0].epochs, "n": len(effect.records)}


def _flat(effect: Effect, *, has_target: bool) -> _Row:
    row: _Row = {"noise": fmean(effect.noises) if effect.noises else None}
    if effect.plateau_epochs and not has_target:
        row["plateau"] = fmean(effect.plateau_epochs)
    return row


def _end(study: Study, effect: Effect) -> _Row:
    metric, split = study.workload.metrics[0].name, held_out_split(study)
    assert split is not None
    found = {
        "train": finals(effect.records, "train", metric),
        "held_out": finals(effect.records, split, metric),
        "gap": final_gaps(effect.records, split, metric),
    }
    return {key: None if spread is None else spread.mean for key, spread in found.items()}


def _columns(study: Study) -> tuple[Column, ...]:
    metric, split = study.workload.metrics[0].name, held_out_split(study) or "test"
    return (
        Column(key="batch_size", quantity="batch_size"),
        Column(key="learning_rate", quantity="learning_rate"),
        Column(key="epochs", quantity="epochs_to_target"),
        Column(key="low", quantity="epochs_to_target", label=text("from")),
        Column(key="high", quantity="epochs_to_target", label=text("to")),
        Column(key="n_met", quantity="n", label=text("runs that met it")),
        Column(key="n_missed", quantity="n", label=text("runs that did not")),
        Column(key="plateau", quantity="epoch", label=text("epochs until the plateau")),
        Column(key="whole_epochs", quantity="epochs_to_target", label=text("epochs of a training")),
        Column(key="n", quantity="n", label=text("seeds")),
        Column(key="train", quantity=metric, label=split_label("train", metric)),
        Column(key="held_out", quantity=metric, label=split_label(split, metric)),
        Column(key="gap", quantity="generalization_gap", label=text("gap")),
        Column(key="noise", quantity="metric_noise", label=text("jumps")),
    )
