"""The trials table: one row a trial, how it ended, what it reached and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.laws.diagnosis import Diagnosis, diagnose, unjudged
from batchlab.laws.plateau import Plateau
from batchlab.measure.measurements import measurement_rows
from batchlab.records.measurement import OfTrial
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.parts.figure import SPLITS
from batchlab.report.parts.held_out import final_gap, held_out_split
from batchlab.report.parts.plateaus import Plateaus, plateaus_of
from batchlab.report.parts.quantity_text import label_text
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.parts.term_text import split_label, term_text
from batchlab.report.sweep.trial_ending import status_text
from batchlab.words.catalogue import listing, text
from batchlab.words.reasons import reason_text

# In a table for people these would push the numbers out of sight; they get a table of their own.
REASONS = ("reason", "plateau_reason", "diagnosis_reason", "notes")
IDENTITY = ("trial_id", "batch_size", "learning_rate", "seed")


def trials_table(study: Study, plateaus: Plateaus | None = None) -> Table:
    """All trials with status, final metrics, gap, time, memory, plateau and diagnosis.

    Args:
        study: the study.
        plateaus: of its trials, where some are known already; None: they are fitted here.
    """
    plateaus = plateaus or plateaus_of(study)
    metric = study.workload.metrics[0].name
    names = [summary.name for summary in study.workload.metrics]
    plain = (
        "trial_id", "status", "batch_mode", "batch_size", "micro_batch_size", "learning_rate",
        "seed", "epochs", "steps",
    )  # fmt: skip
    columns = (
        *(_column(key) for key in plain),
        *(
            Column(key=f"{split}_{name}", quantity=name, label=split_label(split, name))
            for name in names
            for split in SPLITS
        ),
        Column(
            key="generalization_gap",
            quantity="generalization_gap",
            label=_gap_label(study, metric),
        ),
        *(_column(key) for key in ("train_s", "eval_s", *_of_trials(), "engine", "threads")),
        *(_column(key) for key in ("plateau", "plateau_epoch", "diagnosis", *REASONS)),
    )
    return Table(
        caption=text("All trials"),
        columns=columns,
        rows=tuple(tuple(_row(study, record, plateaus.of(record))) for record in study.records),
    )


def _of_trials() -> dict[str, OfTrial]:
    rows = measurement_rows().values()
    return {row.quantity.name: row.of_trial for row in rows if row.of_trial is not None}


_LABELS = {
    "trial_id": "trial",
    "batch_mode": "mode",
    "micro_batch_size": "micro-batch size",
    "epochs": "epochs",
    "steps": "steps",
    "plateau_epoch": "plateau epoch",
    "plateau_reason": "why this plateau",
    "diagnosis_reason": "why this diagnosis",
    "reason": "why it ended so",
    "status": "status",
    "seed": "seed",
    "engine": "engine",
    "threads": "threads",
    "plateau": "plateau",
    "diagnosis": "diagnosis",
    "notes": "notes",
}


def _column(key: str) -> Column:
    label = _LABELS.get(key)
    return Column(
        key=key,
        quantity="epoch" if key == "epochs" else key,
        label=None if label is None else text(label),
        has_terms=key in ("status", "batch_mode"),
    )


def _gap_label(study: Study, metric: str) -> str:
    held_out = held_out_split(study)
    return text(
        "gap ({metric}, train − {split})",
        metric=label_text(metric),
        split=text("held-out") if held_out is None else term_text(held_out),
    )


def _row(study: Study, record: TrialRecord, plateau: Plateau) -> Iterator[Value]:
    trial, first = record.trial, study.workload.metrics[0]
    held_out = held_out_split(study)
    found = diagnose(record, metric=first.name, better=first.better, plateau=plateau)
    yield from (trial.trial_id, status_text(record), trial.batch_mode)
    yield from (trial.batch_size, trial.micro_batch_size, trial.learning_rate, trial.seed)
    yield from (round(record.epochs, 4), record.steps)
    for summary in study.workload.metrics:
        for split in SPLITS:
            yield record.final(split, summary.name)
    yield final_gap(record, held_out, first.name) if held_out else None
    yield from (record.train_s, record.eval_s)
    yield from (of_trial(record) for of_trial in _of_trials().values())
    yield from (record.engine, record.threads)
    yield from (
        text(_PLATEAU_WORDS[plateau.verdict]),
        plateau.epoch,
        _diagnosis_text(record, found),
    )
    yield from (
        reason_text(record.reason) or None,
        reason_text(plateau.reason),
        _diagnosis_reason(record, found),
    )
    yield " ".join(map(reason_text, record.notes)) or None


_PLATEAU_WORDS = {
    "reached": "reached",
    "not_yet": "not yet",
    "cannot_tell": "can't tell",
}


def _diagnosis_text(record: TrialRecord, found: Sequence[Diagnosis]) -> str:
    """The names of what was found; "nothing found" only where every rule could look."""
    if found:
        return ", ".join(reason_text(diagnosis.label) for diagnosis in found)
    return text("can't tell all") if unjudged(record) else text("nothing found")


def _diagnosis_reason(record: TrialRecord, found: Sequence[Diagnosis]) -> str | None:
    reasons = [
        text(
            "{label}: {evidence}. {advice}",
            label=reason_text(diagnosis.label),
            evidence=reason_text(diagnosis.evidence),
            advice=reason_text(diagnosis.sentence),
        )
        for diagnosis in found
    ]
    blind = unjudged(record)
    if blind:
        rules = ", ".join(reason_text(rule.label) for rule in blind)
        splits = listing(
            [term_text(split) for split in sorted({str(rule.needs) for rule in blind})]
        )
        reasons.append(
            text(
                "Not judged, for want of a curve on {splits} data: {rules}.",
                splits=splits,
                rules=rules,
            )
        )
    return " ".join(reasons) or None
