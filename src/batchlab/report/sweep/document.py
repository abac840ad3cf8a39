"""Document: what `--json` prints of a study, described by docs/schema/sweep.json."""

from __future__ import annotations

from pathlib import Path

import msgspec

from batchlab.laws.diagnosis import diagnose
from batchlab.laws.plateau import plateau_of
from batchlab.records.estimate import Reason
from batchlab.records.json_document import SCHEMA
from batchlab.records.study import Study, WorkloadDocument, workload_document
from batchlab.records.trial import Crossing, Status, Target, TrialRecord
from batchlab.report.parts.figure import SPLITS
from batchlab.report.parts.held_out import final_gap, held_out_split
from batchlab.version import __version__
from batchlab.words.document import document_text


class TrialDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One trial: what was asked, how it ended, what it reached."""

    trial_id: str
    status: str
    reason: Reason | None
    engine: str
    threads: int
    device: str
    batch_mode: str
    batch_size: int
    micro_batch_size: int
    sampling: str
    drop_last: bool
    learning_rate: float
    scaling_rule: str
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


class SweepDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep."""

    schema: int
    command: str
    batchlab: str
    command_line: str
    study: str
    workload: WorkloadDocument
    environment: dict[str, str]
    store: str | None
    report: str | None
    spent_s: float
    trials: tuple[TrialDocument, ...]


def sweep_document(study: Study, *, store: Path | None, report: Path | None) -> str:
    """The study as one JSON document; times in seconds, memory in bytes, unknown is null."""
    document = SweepDocument(
        schema=SCHEMA,
        command="sweep",
        batchlab=__version__,
        command_line=study.command,
        study=study.study_id,
        workload=workload_document(study),
        environment=dict(study.environment),
        store=None if store is None else str(store),
        report=None if report is None else str(report),
        spent_s=study.spent_s,
        trials=tuple(_trial(study, record) for record in study.records),
    )
    return document_text(document)


def _trial(study: Study, record: TrialRecord) -> TrialDocument:
    trial, metric = record.trial, study.workload.metrics[0]
    held_out = held_out_split(study)
    plateau = plateau_of(record, metric=metric.name, better=metric.better)
    crossing = None if study.target is None else record.crossing(study.target)
    timing = study.timing(trial.batch_size)
    # Fields that have the name of an attribute of the record, or else of its trial.
    taken = {
        name: getattr(source, name)
        for source in (trial, record)
        for name in TrialDocument.__struct_fields__
        if hasattr(source, name)
    }
    told = dict(
        status="unfinished" if record.status is None else Status(record.status).value,
        step_s=None if timing is None else timing.step_s,
        target=study.target,
        steps_to_target=None if crossing is None else crossing.step,
        samples_to_target=None if crossing is None else crossing.samples,
        crossing=crossing,
        resumed_from_step=record.resumed_from_steps,
        plateau=plateau.verdict,
        plateau_epoch=plateau.epoch,
        diagnosis=tuple(
            found.name
            for found in diagnose(record, metric=metric.name, better=metric.better, plateau=plateau)
        ),
        final={
            split: {name.name: record.final(split, name.name) for name in study.workload.metrics}
            for split in SPLITS
            if any(score.split == split for e in record.evaluations for score in e.scores)
        },
        generalization_gap=final_gap(record, held_out, metric.name) if held_out else None,
    )
    return TrialDocument(**(taken | told))
