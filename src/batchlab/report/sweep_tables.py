"""The tables of a sweep: one row per batch size or plan, and one row per trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from batchlab.belief.final_value import final_of
from batchlab.laws.diagnosis import Diagnosis, diagnose, unjudged
from batchlab.laws.plateau import Plateau
from batchlab.measure.measurements import measurement_rows
from batchlab.records.batch_plan import Stage
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.records.trial import Crossing, Split, Target, TrialRecord
from batchlab.report.cells import (
    Cell,
    cell_label,
    cells,
    chosen_cells,
    final_gap,
    gap_quantity,
    held_out_split,
    kind_word,
    mean_of,
    plan_name,
    plateaus_of,
    status_text,
    trial_words,
)
from batchlab.report.evidence import BudgetName, Evidence, budget_split, races
from batchlab.report.figure import SPLITS
from batchlab.report.table import NAMED, Column, Table, table_of
from batchlab.report.text import label_text, split_label
from batchlab.words.catalogue import listing, term_text, text
from batchlab.words.reasons import reason_text

# ---- by batch size


def sweep_table(study: Study) -> Table:
    """Return the results of each batch size or plan at its shown rate, with 95 % intervals.

    Batch sizes without a trial that ended well have a row without a final value.
    """
    evidence, chosen = Evidence.of(study), chosen_cells(study)
    metric, split, held_out = evidence.metric, budget_split(study), held_out_split(study)
    final = evidence.final(split)
    compared = {cell.kind for cell in evidence.cells}
    best = {race.budget.name: race.best for race in races(evidence)}

    def at_end(cell: Cell) -> Estimate | None:
        return final.mean(cell) if cell.kind in compared else None

    def with_equal(name: BudgetName, label: str) -> list[Column]:
        """Return a column for equal steps or time, if batch sizes were compared there."""
        budget = next((each for each in evidence.budgets if each.name == name), None)
        if budget is None or name not in best:
            return []
        measured = evidence.measured(budget, split)

        def value(cell: Cell) -> Estimate | None:
            return measured.mean(cell) if cell.kind in compared else None

        return [Column(f"equal_{name}", metric, label, of=value, is_minor=True)]

    def train_s(cell: Cell) -> float | None:
        first = cell.ended_well[0] if cell.ended_well else None
        return None if first is None else study.train_s(first.trial, first.steps)

    def measured(row: Measurement) -> Column:
        def value(cell: Cell) -> float | None:
            return row.value_of(study, cell.kind) if isinstance(cell.kind, int) else None

        label = text(row.short or row.quantity.label)
        return Column(row.quantity.name, label=label, of=value, is_minor=True)

    def other(split: Split) -> Column:
        label = split_label(split, metric)
        return Column(split, metric, label, of=partial(_final, study, split), is_minor=True)

    gaps = None if held_out is None else evidence.final_gaps(held_out)

    def gap(cell: Cell) -> Estimate | None:
        return gaps.mean(cell) if gaps is not None and cell.kind in compared else None

    return table_of(
        text(
            "What each {kind} gives; final: on {split} data, with 95 % intervals",
            kind=kind_word(chosen),
            split=term_text(split),
        ),
        chosen,
        Column("batch", label=text("batch"), of=lambda cell: cell_label(study, cell)),
        Column("learning_rate", label=text("rate"), of=attrgetter("shown_rate")),
        Column(split, metric, text("final {metric}", metric=label_text(metric)), of=at_end),
        *with_equal("steps", text("in equal steps")),
        *with_equal("time", text("in equal time")),
        *([other("test")] if split == "validation" else []),
        Column("generalization_gap", gap_quantity(study), text("gap"), of=gap, is_minor=True),
        Column("equal_time_s", label=text("time"), of=train_s),
        *(measured(row) for row in measurement_rows().values() if row.figure == "cost"),
        Column("n", label=text("seeds"), of=lambda c: len(c.ended_well), is_minor=True),
        Column(
            "named",
            label=" ",
            of=lambda cell: NAMED if cell.kind in best.get("epochs", ()) else "",
        ),
    ).without_empty_columns()


def _final(study: Study, split: Split, cell: Cell) -> float | None:
    return mean_of(cell.final(study, split))


def rates_table(study: Study) -> Table:
    """Return one row per batch size or plan and learning rate, including those that failed."""
    chosen, split = chosen_cells(study), budget_split(study)
    metric = study.workload.metrics[0].name

    def others(cell: Cell) -> str:
        return "; ".join(trial_words(record) for record in cell.others)

    return table_of(
        text("Every learning rate that was tried"),
        cells(study),
        Column("batch", label=kind_word(chosen), of=lambda cell: cell_label(study, cell)),
        Column("learning_rate", of=attrgetter("shown_rate")),
        Column(
            "mean",
            metric,
            text("mean {what}", what=split_label(split, metric)),
            of=lambda cell: mean_of(cell.final(study, split)),
        ),
        Column("n", label=text("seeds"), of=lambda cell: len(cell.ended_well)),
        Column("others", label=text("not averaged"), of=others),
        Column("chosen", label=text("shown"), of=lambda c: text("yes") if c in chosen else ""),
    ).without_empty_columns()


# ---- by trial


class TrialDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One trial: what was asked, how it ended, what it reached."""

    trial_id: str
    status: str
    reason: Reason | None
    engine: str
    threads: int
    device: str
    world_size: int
    place: str | None
    batch_mode: str
    batch_size: int
    micro_batch_size: int
    sampling: str
    drop_last: bool
    learning_rate: float
    scaling_rule: str
    stages: tuple[Stage, ...]
    seed: int
    epochs: float
    steps: int
    samples: int
    train_s: float
    eval_s: float
    peak_bytes: int | None
    step_s: float | None
    target: Target | None
    steps_to_target: int | None
    samples_to_target: int | None
    crossing: Crossing | None
    resumed_from_step: tuple[int, ...]
    plateau: str
    plateau_epoch: int | None
    diagnosis: tuple[str, ...]
    final: dict[str, dict[str, float | None]]
    generalization_gap: float | None
    notes: tuple[Reason, ...]


class _Told(NamedTuple):
    """A trial with the results derived from its record."""

    document: TrialDocument
    record: TrialRecord
    plateau: Plateau
    diagnoses: Sequence[Diagnosis]


def _told(study: Study) -> Iterator[_Told]:
    first, plateaus = study.workload.metrics[0], plateaus_of(study)
    for record in study.records:
        plateau = plateaus(record)
        found = diagnose(record, metric=first.name, better=first.better, plateau=plateau)
        yield _Told(_document(study, record, plateau, found), record, plateau, found)


def trial_documents(study: Study) -> tuple[TrialDocument, ...]:
    """Return every trial as `--json` prints it."""
    return tuple(told.document for told in _told(study))


def _document(
    study: Study, record: TrialRecord, plateau: Plateau, diagnoses: Sequence[Diagnosis]
) -> TrialDocument:
    metrics, held_out = study.workload.metrics, held_out_split(study)
    crossing = None if study.target is None else record.crossing(study.target)
    timing = study.timing(record.trial.batch_size)
    # Copy fields that share their name with an attribute of the record, or else of its trial.
    taken: dict[str, Any] = {
        name: getattr(source, name)
        for source in (record.trial, record)
        for name in TrialDocument.__struct_fields__
        if hasattr(source, name)
    }
    made = dict(
        status=status_text(record),
        step_s=None if timing is None or record.trial.stages else timing.step_s,
        target=study.target,
        steps_to_target=None if crossing is None else crossing.step,
        samples_to_target=None if crossing is None else crossing.samples,
        crossing=crossing,
        resumed_from_step=record.resumed_from_steps,
        plateau=plateau.verdict,
        plateau_epoch=plateau.epoch,
        diagnosis=tuple(found.rule.name for found in diagnoses),
        final={
            split: {m.name: final_of(record, split, m.name, m.better) for m in metrics}
            for split in SPLITS
            if any(score.split == split for e in record.evaluations for score in e.scores)
        },
        generalization_gap=None
        if held_out is None
        else final_gap(record, held_out, metrics[0].name),
    )
    return TrialDocument(**(taken | made))


_PLATEAU = {"reached": "reached", "not_yet": "not yet", "cannot_tell": "can't tell"}


def trials_table(study: Study) -> Table:
    """Return all trials with status, final metrics, gap, time, memory, plateau and diagnosis."""
    metric = study.workload.metrics[0].name

    def field(key: str, label: str | None = None, *, has_terms: bool = False) -> Column:
        """Return a column with a field of the trial's document."""
        quantity = None if has_terms else key
        return Column(key, quantity, label, has_terms, lambda told: getattr(told.document, key))

    def final(split: Split, name: str) -> Column:
        label = split_label(split, name)
        key = f"{split}_{name}"
        return Column(key, name, label, of=lambda t: t.document.final.get(split, {}).get(name))

    def measured(row: Measurement) -> Column:
        assert row.of_trial is not None
        of_trial = row.of_trial
        return Column(row.quantity.name, of=lambda told: of_trial(told.record))

    def rate(told: _Told) -> float | None:
        return told.document.learning_rate if study.workload.takes_rate else None

    return table_of(
        text("All trials"),
        _told(study),
        field("trial_id", text("trial")),
        field("status", text("status"), has_terms=True),
        field("batch_mode", text("mode"), has_terms=True),
        field("batch_size"),
        field("micro_batch_size", text("micro-batch size")),
        Column("learning_rate", of=rate),
        Column("plan", label=text("plan"), of=lambda t: plan_name(study, t.record.trial)),
        field("seed", text("seed")),
        Column("epochs", "epoch", text("epochs"), of=lambda t: round(t.record.epochs, 4)),
        field("steps", text("steps")),
        *(final(split, row.name) for row in study.workload.metrics for split in SPLITS),
        Column(
            "generalization_gap",
            gap_quantity(study),
            _gap_label(study, metric),
            of=lambda told: told.document.generalization_gap,
        ),
        field("train_s"),
        field("eval_s"),
        *(measured(row) for row in measurement_rows().values() if row.of_trial is not None),
        field("engine", text("engine")),
        field("threads", text("threads")),
        Column("plateau", label=text("plateau"), of=lambda t: text(_PLATEAU[t.plateau.verdict])),
        field("plateau_epoch", text("plateau epoch")),
        Column("diagnosis", label=text("diagnosis"), of=_diagnosis_text),
        Column("reason", None, text("why it ended so"), of=lambda t: _reasons(t.record.reason)),
        Column(
            "plateau_reason",
            None,
            text("why this plateau"),
            of=lambda t: _reasons(t.plateau.reason),
        ),
        Column("diagnosis_reason", label=text("why this diagnosis"), of=_diagnosis_reason),
        Column("notes", label=text("notes"), of=lambda t: _reasons(*t.record.notes)),
    )


def _reasons(*reasons: Reason | None) -> str | None:
    return " ".join(map(reason_text, reasons)) or None


def _gap_label(study: Study, metric: str) -> str:
    held_out = held_out_split(study)
    return text(
        "gap ({metric}, train − {split})",
        metric=label_text(metric),
        split=text("held-out") if held_out is None else term_text(held_out),
    )


def _diagnosis_text(told: _Told) -> str:
    """Return the diagnoses; "nothing found" only if every rule could be judged."""
    if told.diagnoses:
        return ", ".join(diagnosis.rule.label for diagnosis in told.diagnoses)
    return text("can't tell all") if unjudged(told.record) else text("nothing found")


def _diagnosis_reason(told: _Told) -> str | None:
    reasons = [
        text(
            "{label}: {evidence}. {advice}",
            label=diagnosis.rule.label,
            evidence=reason_text(diagnosis.evidence),
            advice=reason_text(diagnosis.rule.sentence),
        )
        for diagnosis in told.diagnoses
    ]
    blind = unjudged(told.record)
    if blind:
        splits = sorted({str(rule.needs) for rule in blind})
        reasons.append(
            text(
                "Not judged, for want of a curve on {splits} data: {rules}.",
                splits=listing([term_text(split) for split in splits]),
                rules=", ".join(rule.label for rule in blind),
            )
        )
    return " ".join(reasons) or None
