"""Store: one SQLite file with studies, trials, evaluations and measured step times."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Literal

from batchlab.errors import StoreError
from batchlab.records.study import StepTiming, Study, StudyName, WorkloadSummary, place_of
from batchlab.records.trial import Evaluation, TrialRecord
from batchlab.store.file import StoreFile, not_whole
from batchlab.store.schema import JsonColumn, now, printable, printable_record

_SUMMARY: Final = JsonColumn[WorkloadSummary](WorkloadSummary)
_RECORD: Final = JsonColumn[TrialRecord](TrialRecord)  # without evaluations: see `_EVALUATION`
_EVALUATION: Final = JsonColumn[Evaluation](Evaluation)
_TIMING: Final = JsonColumn[StepTiming](StepTiming)
_STUDY: Final = JsonColumn[StudyName](StudyName)

Document = Literal["decisions", "advice"]
"""A text that is stored with a study: the journal of its decisions, or its advice."""


class Store(StoreFile):
    """An open store, whose file is created if missing; a context manager that closes the file.

    Only the process and thread that opened a store object may use the object. Several processes
    can open the same file and write to the file at the same time.

    Args:
        path: the path of the file; a missing or empty file becomes a new store.

    Attributes:
        path: the absolute path of the file.

    Raises:
        StoreError: here and in every method, with one line that says what is wrong with the file
            (or with the new data) and what to do. A failed transaction stores nothing.
    """

    # ---- workloads and trials

    def put_workload(self, summary: WorkloadSummary) -> None:
        """Store the summary of a workload; replace an earlier summary with the same id."""
        encoded = _SUMMARY.encoded(summary, f"workload {summary.name!r}")
        with self._writing() as connection:
            _put_row(connection, "workloads", workload_id=summary.workload_id, summary=encoded)

    def workload(self, workload_id: str) -> WorkloadSummary | None:
        """Return the summary of a workload, or None if the workload is not in the store."""
        text = self._text("SELECT summary FROM workloads WHERE workload_id = ?", workload_id)
        return None if text is None else _SUMMARY.decoded(text)

    def put_record(self, record: TrialRecord, *, keep_until: int | None = None) -> None:
        """Store a trial's record in one transaction, and add its evaluations to the stored ones.

        A record without status means that the trial has begun and not ended.

        Args:
            record: a record of a workload in the store; numbers that are not finite must be None.
            keep_until: the step after which stored evaluations are deleted, -1 to delete all
                evaluations, or None to keep all.
        """
        trial, evaluations = record.trial, record.evaluations
        # Encode first: this refuses numbers that are not finite, on which `trial_id` would fail.
        encoded = _RECORD.encoded(printable_record(record), f"a trial of {trial.workload}")
        ids = trial.trial_id
        with self._writing() as connection:
            _put_row(
                connection, "trials", trial_id=ids, workload_id=trial.workload_id, record=encoded
            )
            if keep_until is not None:
                connection.execute(
                    "DELETE FROM evaluations WHERE trial_id = ? AND step > ?", (ids, keep_until)
                )
            _put_evaluations(connection, ids, evaluations)

    def put_evaluations(self, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations in one transaction; replace stored evaluations at the same steps.

        The trial must have started, and numbers that are not finite must be given as None.
        """
        with self._writing() as connection:
            _put_evaluations(connection, trial_id, evaluations)

    def record(self, trial_id: str) -> TrialRecord | None:
        """Return the record of a trial, or None if the trial has not started."""
        with self._reading() as connection:
            text = self._text("SELECT record FROM trials WHERE trial_id = ?", trial_id)
            if text is None:
                return None
            rows = connection.execute(
                "SELECT evaluation FROM evaluations WHERE trial_id = ? ORDER BY step", (trial_id,)
            )
            evaluations = tuple(_EVALUATION.decoded(evaluation) for (evaluation,) in rows)
            return replace(_RECORD.decoded(text), evaluations=evaluations)

    # ---- step times

    def put_timing(self, timing: StepTiming) -> None:
        """Store one measurement of step times; earlier measurements are not deleted."""
        encoded = _TIMING.encoded(timing, f"step times of batch size {timing.batch_size}")
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO timings (workload_id, device, timing) VALUES (?, ?, ?)",
                (timing.workload_id, timing.device, encoded),
            )

    def timings(
        self, workload_id: str, device: str, *, place: str | None
    ) -> tuple[StepTiming, ...]:
        """Return the latest step times of each (batch size, micro-batch size), in ascending order.

        Args:
            workload_id: the workload that was timed.
            device: the device that was timed, as in `StepTiming.device`.
            place: return only timings of this processor or GPU, and timings without a known place.
        """
        latest = {}
        with self._reading() as connection:
            for (text,) in connection.execute(
                "SELECT timing FROM timings WHERE workload_id = ? AND device = ? "
                "ORDER BY timing_id",
                (workload_id, device),
            ):
                timing = _TIMING.decoded(text)
                if timing.place in (place, None):
                    latest[timing.batch_size, timing.micro_batch_size] = timing
        return tuple(timing for _, timing in sorted(latest.items()))

    # ---- studies

    def put_study(self, study: StudyName) -> None:
        """Store a study and make it the study requested last.

        If the study is in the store already, its creation time and its answer are kept. The
        workload of the study must be in the store.
        """
        encoded = _STUDY.encoded(
            replace(study, command=printable(study.command)), f"study {study.study_id!r}"
        )
        with self._writing() as connection:
            last, created_at = connection.execute(
                "SELECT coalesce(max(asked), 0), max(CASE study_id WHEN ? THEN created_at END) "
                "FROM studies",
                (study.study_id,),
            ).fetchone()
            _put_row(
                connection,
                "studies",
                study_id=study.study_id,
                workload_id=study.workload_id,
                asked=last + 1,
                created_at=created_at or now(),
                study=encoded,
            )

    def add_spent(self, study_id: str, seconds: float) -> None:
        """Add `seconds` to the time spent on a study in the store."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE studies SET spent_s = spent_s + ? WHERE study_id = ?", (seconds, study_id)
            )

    def put_document(self, study_id: str, kind: Document, text: str) -> None:
        """Store or replace one document of a study, as JSON; the study must be in the store."""
        with self._writing() as connection:
            connection.execute(
                f"UPDATE studies SET {kind} = ? WHERE study_id = ?", (text, study_id)
            )

    def document(self, study_id: str, kind: Document) -> str | None:
        """Return a document as stored by `put_document`, or None if there is none."""
        return self._text(f"SELECT {kind} FROM studies WHERE study_id = ?", study_id)

    def study(self, study_id: str | None = None) -> Study:
        """Return a study with its records; without an id, the study requested last.

        The records are in the order in which the trials were requested, without trials that have
        not started. The timings are the latest for the batch sizes of these trials, measured on the
        processor or GPU where the study was requested.
        """
        with self._reading() as connection, _uncollected():
            row = connection.execute(
                "SELECT study, created_at, spent_s FROM studies "
                "WHERE :id IS NULL OR study_id = :id ORDER BY asked DESC LIMIT 1",
                {"id": study_id},
            ).fetchone()
            if row is None:
                raise self._no_study(study_id)
            text, created_at, spent_s = row
            name = _STUDY.decoded(text)
            workload = self.workload(name.workload_id)
            if workload is None:  # another program deleted the workload
                raise not_whole(self.path, "its content cannot be read")
            records = tuple(filter(None, map(self.record, name.trial_ids)))
            return Study(
                study_id=name.study_id,
                command=name.command,
                created_at=created_at,
                workload=workload,
                environment=name.environment,
                records=records,
                timings=tuple(self._timings_of(name, records)),
                spent_s=spent_s,
                target=name.target,
                margin=name.margin,
            )

    def _timings_of(self, name: StudyName, records: Sequence[TrialRecord]) -> Iterator[StepTiming]:
        """Yield the step times at the batch sizes of `records`, if the script used these sizes."""
        unused_sizes = {record.trial.batch_size for record in records if record.is_of_no_size}
        shapes: dict[str, set[tuple[int, int]]] = {}  # by device: (batch size, micro-batch size)
        for record in records:
            trial = record.trial
            if trial.batch_size not in unused_sizes:
                shapes.setdefault(trial.device, set()).update(trial.micro_batch_sizes.items())
        for device in sorted(shapes):
            place = place_of(name.environment, device)
            for timing in self.timings(name.workload_id, device, place=place):
                if (timing.batch_size, timing.micro_batch_size) in shapes[device]:
                    yield timing

    def studies(self) -> tuple[tuple[str, str, str], ...]:
        """Return the id, creation time and command of every study; the latest comes last.

        Times are ISO 8601, UTC.
        """
        with self._reading() as connection:
            rows = connection.execute("SELECT created_at, study FROM studies ORDER BY asked")
            names = [(created_at, _STUDY.decoded(text)) for created_at, text in rows]
        return tuple((name.study_id, created_at, name.command) for created_at, name in names)

    def _no_study(self, study_id: str | None) -> StoreError:
        study_ids = ", ".join(study_id for study_id, *_ in self.studies())
        if not study_ids:
            return StoreError(f"{self.path} holds no study yet; run a sweep with it first")
        return StoreError(f"no study {study_id!r} in {self.path}; it holds {study_ids}")

    def _text(self, query: str, key: str) -> str | None:
        """Return the text that a query selects by `key`; None for NULL or an unknown key."""
        with self._reading() as connection:
            (text,) = connection.execute(query, (key,)).fetchone() or (None,)
            return text


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collection, which would visit all evaluations again and again.

    With 1.6 million evaluations, reading takes a fifth of the time (`benchmarks/cluster_scale.py`).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _put_row(connection: sqlite3.Connection, table: str, **row: object) -> None:
    """Insert a row; if its key (the first column) exists, replace that row's other columns."""
    key, *others = row
    replaced = ", ".join(f"{name} = excluded.{name}" for name in others)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {replaced}",
        tuple(row.values()),
    )


def _put_evaluations(
    connection: sqlite3.Connection, trial_id: str, evaluations: Sequence[Evaluation]
) -> None:
    rows = []
    for evaluation in evaluations:
        what = f"evaluation at step {evaluation.step} of trial {trial_id}"
        rows.append((trial_id, evaluation.step, _EVALUATION.encoded(evaluation, what)))
    connection.executemany("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?)", rows)
