"""The trials table: one row a trial, how it ended, what it reached and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.laws.diagnosis import Diagnosis, diagnose, unjudged
from batchlab.laws.plateau import plateau_of
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.parts.figure import SPLITS
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.sweep.cells import final_gap, held_out_split
from batchlab.report.sweep.trial_ending import status_text
from batchlab.words.reasons import reason_text

# In a table for people these would push the numbers out of sight; they get a table of their own.
REASONS = ("reason", "plateau_reason", "diagnosis_reason", "notes")
IDENTITY = ("trial_id", "batch_size", "learning_rate", "seed")


def trials_table(study: Study) -> Table:
    """All trials with status, final metrics, gap, time, memory, plateau and diagnosis."""
    metric = study.workload.metrics[0].name
    names = [summary.name for summary in study.workload.metrics]
    plain = (
        "trial_id", "status", "batch_mode", "batch_size", "micro_batch_size", "learning_rate",
        "seed", "epochs", "steps",
    )  # fmt: skip
    columns = (
        *(_column(key) for key in plain),
        *(
            Column(key=f"{split}_{name}", quantity=name, label=f"{split} {quantity(name).label}")
            for name in names
            for split in SPLITS
        ),
        Column(
            key="generalization_gap",
            quantity="generalization_gap",
            label=f"gap ({metric}, train − {held_out_split(study) or 'held-out'})",
        ),
        *(_column(key) for key in ("train_s", "eval_s", "peak_bytes", "engine", "threads")),
        *(_column(key) for key in ("plateau", "plateau_epoch", "diagnosis", *REASONS)),
    )
    return Table(
        caption="All trials",
        columns=columns,
        rows=tuple(tuple(_row(study, record)) for record in study.records),
    )


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
}


def _column(key: str) -> Column:
    return Column(key=key, quantity="epoch" if key == "epochs" else key, label=_LABELS.get(key))


def _row(study: Study, record: TrialRecord) -> Iterator[Value]:
    trial, first = record.trial, study.workload.metrics[0]
    held_out = held_out_split(study)
    plateau = plateau_of(record, metric=first.name, better=first.better)
    found = diagnose(record, metric=first.name, better=first.better, plateau=plateau)
    yield from (trial.trial_id, status_text(record), trial.batch_mode)
    yield from (trial.batch_size, trial.micro_batch_size, trial.learning_rate, trial.seed)
    yield from (round(record.epochs, 4), record.steps)
    for summary in study.workload.metrics:
        for split in SPLITS:
            yield record.final(split, summary.name)
    yield final_gap(record, held_out, first.name) if held_out else None
    yield from (record.train_s, record.eval_s, record.peak_bytes)
    yield from (record.engine, record.threads)
    yield from (_PLATEAU_WORDS[plateau.verdict], plateau.epoch, _diagnosis_text(record, found))
    yield from (record.reason, reason_text(plateau.reason), _diagnosis_reason(record, found))
    yield " ".join(record.notes) or None


_PLATEAU_WORDS = {"reached": "reached", "not_yet": "not yet", "cannot_tell": "can't tell"}


def _diagnosis_text(record: TrialRecord, found: Sequence[Diagnosis]) -> str:
    """The names of what was found; "nothing found" only where every rule could look."""
    if found:
        return ", ".join(reason_text(diagnosis.label) for diagnosis in found)
    return "can't tell all" if unjudged(record) else "nothing found"


def _diagnosis_reason(record: TrialRecord, found: Sequence[Diagnosis]) -> str | None:
    reasons = [
        f"{reason_text(diagnosis.label)}: {reason_text(diagnosis.evidence)}. "
        f"{reason_text(diagnosis.sentence)}"
        for diagnosis in found
    ]
    blind = unjudged(record)
    if blind:
        rules = ", ".join(reason_text(rule.label) for rule in blind)
        splits = " and ".join(sorted({str(rule.needs) for rule in blind}))
        reasons.append(f"Not judged, for want of a curve on {splits} data: {rules}.")
    return " ".join(reasons) or None
