"""The store's slow twin: dictionaries in memory, and copies of records on every change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batchlab.records.estimate import Reason
from batchlab.records.study import StepTiming, WorkloadSummary
from batchlab.records.trial import Evaluation, Status, TrialRecord


class InMemoryStore:
    def __init__(self) -> None:
        self.workloads: dict[str, WorkloadSummary] = {}
        self.records: dict[str, TrialRecord] = {}
        self.all_timings: list[StepTiming] = []
        self.studies: dict[str, dict[str, object]] = {}
        self.order: list[str] = []

    def put_workload(self, summary: WorkloadSummary) -> None:
        self.workloads[summary.workload_id] = summary

    def put_study(
        self,
        *,
        study_id: str,
        command: str,
        workload_id: str,
        environment: tuple[tuple[str, str], ...],
        trial_ids: Sequence[str],
    ) -> None:
        spent_s = self.studies.get(study_id, {}).get("spent_s", 0.0)
        self.studies[study_id] = {
            "study_id": study_id,
            "command": command,
            "workload": self.workloads[workload_id],
            "environment": environment,
            "trial_ids": tuple(trial_ids),
            "spent_s": spent_s,
        }
        if study_id in self.order:
            self.order.remove(study_id)
        self.order.append(study_id)

    def add_spent(self, study_id: str, seconds: float) -> None:
        self.studies[study_id]["spent_s"] += seconds  # type: ignore[operator]

    def study(self, study_id: str | None) -> dict[str, object]:
        found = dict(self.studies[self.order[-1] if study_id is None else study_id])
        trial_ids = found.pop("trial_ids")
        records = [self.records[i] for i in trial_ids if i in self.records]  # type: ignore[attr-defined]
        timings = []
        for device in ("cpu", "cuda"):
            for timing in self.timings(found["workload"].workload_id, device):  # type: ignore[attr-defined]
                for record in records:
                    if (
                        record.trial.device == device
                        and record.trial.batch_size == timing.batch_size
                        and record.trial.micro_batch_size == timing.micro_batch_size
                        and timing not in timings
                    ):
                        timings.append(timing)
        return found | {"records": tuple(records), "timings": tuple(timings)}

    def begin_trial(self, record: TrialRecord) -> None:
        before = self.records.get(record.trial.trial_id)
        self.records[record.trial.trial_id] = replace(
            record,
            status=None,
            reason=None,
            traceback=None,
            evaluations=before.evaluations if before else (),
        )

    def restart_trial(self, trial_id: str) -> None:
        self.records[trial_id] = replace(
            self.records[trial_id],
            status=None,
            reason=None,
            traceback=None,
            peak_bytes=None,
            evaluations=(),
            resumed_from_steps=(),
        )

    def put_evaluations(self, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        by_step = {e.step: e for e in self.records[trial_id].evaluations}
        for evaluation in evaluations:
            by_step[evaluation.step] = evaluation
        kept = tuple(by_step[step] for step in sorted(by_step))
        self.records[trial_id] = replace(self.records[trial_id], evaluations=kept)

    def drop_evaluations_after(self, trial_id: str, step: int) -> None:
        kept = tuple(e for e in self.records[trial_id].evaluations if e.step <= step)
        self.records[trial_id] = replace(self.records[trial_id], evaluations=kept)

    def finish_trial(
        self,
        trial_id: str,
        *,
        status: Status,
        reason: Reason | None,
        traceback: str | None,
        peak_bytes: int | None,
        notes: Sequence[Reason] = (),
    ) -> None:
        all_notes = list(self.records[trial_id].notes)
        for note in notes:
            if note not in all_notes:
                all_notes.append(note)
        self.records[trial_id] = replace(
            self.records[trial_id],
            status=status,
            reason=reason,
            traceback=traceback,
            peak_bytes=peak_bytes,
            notes=tuple(all_notes),
        )

    def put_record(self, record: TrialRecord) -> None:
        before = self.records.get(record.trial.trial_id)
        by_step = {
            e.step: e for e in (*(before.evaluations if before else ()), *record.evaluations)
        }
        kept = replace(record, evaluations=tuple(by_step[step] for step in sorted(by_step)))
        if record.status is None:
            kept = replace(kept, reason=None, traceback=None)
        self.records[record.trial.trial_id] = kept

    def record(self, trial_id: str) -> TrialRecord | None:
        return self.records.get(trial_id)

    def put_timing(self, timing: StepTiming) -> None:
        self.all_timings.append(timing)

    def timings(self, workload_id: str, device: str) -> tuple[StepTiming, ...]:
        latest = {}
        for timing in self.all_timings:
            if timing.workload_id == workload_id and timing.device == device:
                latest[timing.batch_size, timing.micro_batch_size] = timing
        return tuple(latest[shape] for shape in sorted(latest))
