"""Trials: the request, the evaluations and the outcome of every training run in a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from batchlab.records.run import Outcome
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Evaluation, TrialRecord
from batchlab.store.file import StoreFile
from batchlab.store.schema import JsonColumn, printable_reason

_SUMMARY: Final = JsonColumn[WorkloadSummary](WorkloadSummary)
_RECORD: Final = JsonColumn[TrialRecord](TrialRecord)  # evaluations have their own table
_EVALUATION: Final = JsonColumn[Evaluation](Evaluation)


def put_row(
    connection: sqlite3.Connection, table: str, key: str, row: Mapping[str, object]
) -> None:
    """Insert a row; if a row has the same key already, replace the given columns in that row."""
    replaced = ", ".join(f"{name} = excluded.{name}" for name in row if name != key)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {replaced}",
        tuple(row.values()),
    )


def text_by(connection: sqlite3.Connection, query: str, key: str) -> str | None:
    """Return the text that a query selects by `key`, or None if no row has this key."""
    row = connection.execute(query, (key,)).fetchone()
    return None if row is None else str(row[0])


class Trials(StoreFile):
    """The part of a store for workloads, their trials, and the evaluations of the trials."""

    def put_workload(self, summary: WorkloadSummary) -> None:
        """Store the summary of a workload; replace an earlier summary with the same id."""
        encoded = _SUMMARY.encoded(summary, f"workload {summary.name!r}")
        row = {"workload_id": summary.workload_id, "name": summary.name, "summary": encoded}
        with self._writing() as connection:
            put_row(connection, "workloads", "workload_id", row)

    def workload(self, workload_id: str) -> WorkloadSummary | None:
        """Return the summary of a workload, or None if the workload is not in the store."""
        with self._reading() as connection:
            return self._workload(connection, workload_id)

    def _workload(self, connection: sqlite3.Connection, workload_id: str) -> WorkloadSummary | None:
        query = "SELECT summary FROM workloads WHERE workload_id = ?"
        text = text_by(connection, query, workload_id)
        return None if text is None else _SUMMARY.decoded(text)

    def begin_trial(self, record: TrialRecord) -> None:
        """Store that a trial starts or resumes; the trial has no status until it ends.

        The evaluations, status, reason and traceback of the record are ignored; evaluations are
        stored by `put_evaluations` and deleted by `drop_evaluations_after`.

        Args:
            record: a record of a workload that is in the store.
        """
        begun = replace(record, status=None, reason=None, traceback=None)
        with self._writing() as connection:
            self._put_trial(connection, begun)

    def _put_trial(self, connection: sqlite3.Connection, record: TrialRecord) -> None:
        """Insert or replace a trial's row, with printable texts; its evaluations are ignored."""
        trial = record.trial
        kept = replace(
            record,
            evaluations=(),
            reason=printable_reason(record.reason),
            traceback=printable_reason(record.traceback),
            notes=tuple(dict.fromkeys(map(printable_reason, record.notes))),
        )
        # Encode first, to refuse numbers that are not finite: `trial_id` would fail on them.
        encoded = _RECORD.encoded(kept, f"a trial of {trial.workload}")
        row = {
            "trial_id": trial.trial_id,
            "workload_id": trial.workload_id,
            "record": encoded,
        }
        put_row(connection, "trials", "trial_id", row)

    def _trial(self, connection: sqlite3.Connection, trial_id: str) -> TrialRecord | None:
        """Return a trial's record without evaluations, or None if the trial has not started."""
        text = text_by(connection, "SELECT record FROM trials WHERE trial_id = ?", trial_id)
        return None if text is None else _RECORD.decoded(text)

    def _begun_trial(self, connection: sqlite3.Connection, trial_id: str) -> TrialRecord:
        record = self._trial(connection, trial_id)
        assert record is not None, f"trial {trial_id} has not begun"
        return record

    def put_evaluations(self, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations in one transaction; replace stored evaluations at the same steps.

        The trial must have started, and numbers that are not finite must be given as None.
        """
        # Waiting for the disk each time would slow small trials. Without waiting, a killed process
        # loses nothing; a power cut can lose the last evaluations of an unfinished trial.
        with self._writing(wait_for_disk=False) as connection:
            self._insert_evaluations(connection, trial_id, evaluations)

    def _insert_evaluations(
        self, connection: sqlite3.Connection, trial_id: str, evaluations: Iterable[Evaluation]
    ) -> None:
        rows = []
        for evaluation in evaluations:
            what = f"evaluation at step {evaluation.step} of trial {trial_id}"
            rows.append((trial_id, evaluation.step, _EVALUATION.encoded(evaluation, what)))
        connection.executemany("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?)", rows)

    def _evaluations(self, connection: sqlite3.Connection, trial_id: str) -> tuple[Evaluation, ...]:
        query = "SELECT evaluation FROM evaluations WHERE trial_id = ? ORDER BY step"
        rows = connection.execute(query, (trial_id,))
        return tuple(_EVALUATION.decoded(text) for (text,) in rows)

    def drop_evaluations_after(self, trial_id: str, step: int) -> None:
        """Delete the evaluations after `step`; a run resumed at `step` makes them again."""
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM evaluations WHERE trial_id = ? AND step > ?", (trial_id, step)
            )

    def restart_trial(self, trial_id: str) -> None:
        """Delete a trial's evaluations, outcome and resumption steps, to restart from step 0."""
        with self._writing() as connection:
            restarted = replace(
                self._begun_trial(connection, trial_id),
                status=None,
                reason=None,
                traceback=None,
                peak_bytes=None,
                place=None,
                resumed_from_steps=(),
            )
            self._put_trial(connection, restarted)
            connection.execute("DELETE FROM evaluations WHERE trial_id = ?", (trial_id,))

    def replace_evaluations(
        self,
        trial_id: str,
        evaluations: Sequence[Evaluation],
        *,
        resumed_from_steps: tuple[int, ...],
    ) -> None:
        """Replace all evaluations of a trial by another run's evaluations, in one transaction.

        The trial must have started; the other run was resumed from `resumed_from_steps`.
        """
        with self._writing() as connection:
            record = self._begun_trial(connection, trial_id)
            self._put_trial(connection, replace(record, resumed_from_steps=resumed_from_steps))
            connection.execute("DELETE FROM evaluations WHERE trial_id = ?", (trial_id,))
            self._insert_evaluations(connection, trial_id, evaluations)

    def finish_trial(self, trial_id: str, end: Outcome | TrialRecord) -> None:
        """Store the outcome of a started trial; add the outcome's notes to the trial's notes."""
        assert end.status is not None
        with self._writing() as connection:
            begun = self._begun_trial(connection, trial_id)
            finished = replace(
                begun,
                status=end.status,
                reason=end.reason,
                traceback=end.traceback,
                engine=end.engine or begun.engine,
                peak_bytes=end.peak_bytes,
                place=end.place,
                notes=(*begun.notes, *end.notes),
            )
            self._put_trial(connection, finished)

    def put_record(self, record: TrialRecord) -> None:
        """Store the whole record of a trial: the request, evaluations and outcome.

        Evaluations already stored at other steps are not deleted.

        Args:
            record: a record of a workload in the store; with status None, the trial has not ended.
        """
        self.begin_trial(record)
        self.put_evaluations(record.trial.trial_id, record.evaluations)
        if record.status is not None:
            self.finish_trial(record.trial.trial_id, record)

    def record(self, trial_id: str) -> TrialRecord | None:
        """Return the record of a trial, or None if the trial has not started."""
        with self._reading() as connection:
            return self._record(connection, trial_id)

    def _record(self, connection: sqlite3.Connection, trial_id: str) -> TrialRecord | None:
        record = self._trial(connection, trial_id)
        if record is None:
            return None
        return replace(record, evaluations=self._evaluations(connection, trial_id))
