"""Trials: the request, the observations and the end of every training run."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.records.run import Outcome
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Evaluation, Score, Status, Trial, TrialRecord
from batchlab.store.file import StoreFile
from batchlab.store.schema import (
    PAIRS,
    TARGET,
    TEXTS,
    JsonColumn,
    UnreadableColumn,
    if_known,
    kept_reason,
    printable,
    reason_kept,
)

_SUMMARY: Final = JsonColumn[WorkloadSummary](WorkloadSummary)
_TRIAL: Final = JsonColumn[Trial](Trial)
_STEPS: Final = JsonColumn[tuple[int, ...]](tuple[int, ...])
_SCORES: Final = JsonColumn[tuple[Score, ...]](tuple[Score, ...])
_MEASURED: Final = JsonColumn[dict[str, float | None]](dict[str, float | None])
_NUMBERS = ("train_s", "eval_s", "batch_loss")


def put_row(
    connection: sqlite3.Connection, table: str, key: str, row: Mapping[str, object]
) -> None:
    """Insert a row, or replace the given columns of the row that has its key."""
    replaced = ", ".join(f"{name} = excluded.{name}" for name in row if name != key)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {replaced}",
        tuple(row.values()),
    )


def text_by(connection: sqlite3.Connection, query: str, key: str) -> str | None:
    """Return the one text that a query finds by a key, or None if it finds none."""
    row = connection.execute(query, (key,)).fetchone()
    return None if row is None else str(row[0])


class Trials(StoreFile):
    """The workloads of a store, their trials, and the evaluations of these."""

    def put_workload(self, summary: WorkloadSummary) -> None:
        """Store the summary of a workload, in place of an earlier one with the same id."""
        encoded = _SUMMARY.encoded(summary, f"workload {summary.name!r}")
        row = {"workload_id": summary.workload_id, "name": summary.name, "summary": encoded}
        with self._writing() as connection:
            put_row(connection, "workloads", "workload_id", row)

    def workload(self, workload_id: str) -> WorkloadSummary | None:
        """Return the summary of a workload, or None if it is not in the store."""
        with self._reading() as connection:
            return self._workload(connection, workload_id)

    def _workload(self, connection: sqlite3.Connection, workload_id: str) -> WorkloadSummary | None:
        query = "SELECT summary FROM workloads WHERE workload_id = ?"
        text = text_by(connection, query, workload_id)
        return if_known(_SUMMARY.decoded, text, f"workload {workload_id}")

    def begin_trial(self, record: TrialRecord) -> None:
        """Store that a trial begins or resumes, and clear its status.

        The evaluations, status, reason and traceback of the record are ignored; evaluations are
        stored by `put_evaluations` and dropped by `drop_evaluations_after`.

        Args:
            record: a record of a workload that is in the store.
        """
        # Encode first, to refuse numbers that are not finite: such a trial has no identity.
        trial = _TRIAL.encoded(record.trial, f"trial of {record.trial.workload}")
        what, target = f"trial {record.trial.trial_id}", record.target
        row = {
            "trial_id": record.trial.trial_id,
            "workload_id": record.trial.workload_id,
            "trial": trial,
            "status": None,
            "reason": None,
            "traceback": None,
            "engine": record.engine,
            "threads": record.threads,
            "versions": PAIRS.encoded(record.versions, f"versions of {what}"),
            "target": if_known(TARGET.encoded, target, f"target of {what}"),
            "peak_bytes": record.peak_bytes,
            "place": record.place,
            "resumed_from_steps": _STEPS.encoded(
                record.resumed_from_steps, f"resumed_from_steps of {what}"
            ),
            "notes": _notes_column(record.notes, f"notes of {what}"),
        }
        with self._writing() as connection:
            put_row(connection, "trials", "trial_id", row)

    def _change_trial(
        self, connection: sqlite3.Connection, trial_id: str, changes: Mapping[str, object]
    ) -> None:
        columns = ", ".join(f"{name} = ?" for name in changes)
        connection.execute(
            f"UPDATE trials SET {columns} WHERE trial_id = ?", (*changes.values(), trial_id)
        )

    def put_evaluations(self, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations, all or none; each replaces an earlier one of the same step.

        The trial has begun, and numbers that are not finite are None.
        """
        # A killed process loses nothing this way. Only a power cut can lose the last evaluations,
        # and not those of a finished trial. Waiting for the disk each time would slow small trials.
        with self._writing(wait_for_disk=False) as connection:
            self._insert_evaluations(connection, trial_id, evaluations)

    def _insert_evaluations(
        self, connection: sqlite3.Connection, trial_id: str, evaluations: Iterable[Evaluation]
    ) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO evaluations (trial_id, step, samples, train_s, eval_s, "
            "batch_loss, measured, scores) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [_evaluation_row(trial_id, evaluation) for evaluation in evaluations],
        )

    def _evaluations(self, connection: sqlite3.Connection, trial_id: str) -> tuple[Evaluation, ...]:
        rows = connection.execute(
            "SELECT step, samples, train_s, eval_s, batch_loss, measured, scores "
            "FROM evaluations WHERE trial_id = ? ORDER BY step",
            (trial_id,),
        )
        what = f"an evaluation of trial {trial_id}"
        return tuple(
            Evaluation(
                step=step,
                samples=samples,
                train_s=train_s,
                eval_s=eval_s,
                batch_loss=batch_loss,
                scores=_SCORES.decoded(scores, what),
                measured=tuple(_MEASURED.decoded(measured, what).items()),
            )
            for step, samples, train_s, eval_s, batch_loss, measured, scores in rows
        )

    def drop_evaluations_after(self, trial_id: str, step: int) -> None:
        """Delete the evaluations after a checkpoint at `step`; the resumed run repeats them."""
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM evaluations WHERE trial_id = ? AND step > ?", (trial_id, step)
            )

    def restart_trial(self, trial_id: str) -> None:
        """Delete a trial's observations and the steps it resumed from, to run it from step 0."""
        nothing = dict.fromkeys(("status", "reason", "traceback", "peak_bytes", "place"))
        with self._writing() as connection:
            self._change_trial(connection, trial_id, nothing | {"resumed_from_steps": "[]"})
            connection.execute("DELETE FROM evaluations WHERE trial_id = ?", (trial_id,))

    def replace_evaluations(
        self,
        trial_id: str,
        evaluations: Sequence[Evaluation],
        *,
        resumed_from_steps: tuple[int, ...],
    ) -> None:
        """Replace the stored curve by that of another run, completely or not at all.

        The trial has begun, and that run was resumed from `resumed_from_steps`.
        """
        steps = _STEPS.encoded(resumed_from_steps, f"resumed_from_steps of trial {trial_id}")
        with self._writing() as connection:
            self._change_trial(connection, trial_id, {"resumed_from_steps": steps})
            connection.execute("DELETE FROM evaluations WHERE trial_id = ?", (trial_id,))
            self._insert_evaluations(connection, trial_id, evaluations)

    def finish_trial(self, trial_id: str, end: Outcome | TrialRecord) -> None:
        """Store how a begun trial ended; add `notes` to the notes it began with."""
        assert end.status is not None
        with self._writing() as connection:
            what = f"notes of trial {trial_id}"
            text = text_by(connection, "SELECT notes FROM trials WHERE trial_id = ?", trial_id)
            assert text is not None
            all_notes = tuple(dict.fromkeys((*_notes_of(text, what), *end.notes)))
            changes: dict[str, object] = {
                "status": end.status.value,
                "reason": if_known(kept_reason, end.reason),
                "traceback": if_known(printable, end.traceback),
                "peak_bytes": end.peak_bytes,
                "place": end.place,
                "notes": _notes_column(all_notes, what),
            }
            if end.engine is not None:
                changes["engine"] = end.engine
            self._change_trial(connection, trial_id, changes)

    def put_record(self, record: TrialRecord) -> None:
        """Store the whole record of a trial: its beginning, evaluations and end.

        Evaluations that the store already holds at other steps stay.

        Args:
            record: a record of a workload in the store; without a status, it has not ended.
        """
        self.begin_trial(record)
        self.put_evaluations(record.trial.trial_id, record.evaluations)
        if record.status is not None:
            self.finish_trial(record.trial.trial_id, record)

    def record(self, trial_id: str) -> TrialRecord | None:
        """Return the record of a trial, or None if the trial has not begun."""
        with self._reading() as connection:
            return self._record(connection, trial_id)

    def _record(self, connection: sqlite3.Connection, trial_id: str) -> TrialRecord | None:
        row = connection.execute(
            "SELECT trial, status, reason, traceback, engine, threads, versions, target, "
            "peak_bytes, place, resumed_from_steps, notes FROM trials WHERE trial_id = ?",
            (trial_id,),
        ).fetchone()
        if row is None:
            return None
        trial, status, reason, traceback, engine, threads, *rest = row
        versions, target, peak, place, steps, notes = rest
        what = f"trial {trial_id}"
        return TrialRecord(
            trial=_TRIAL.decoded(trial, what),
            status=if_known(_status, status, what),
            reason=if_known(reason_kept, reason),
            traceback=traceback,
            engine=engine,
            threads=threads,
            versions=PAIRS.decoded(versions, what),
            target=if_known(TARGET.decoded, target, what),
            evaluations=self._evaluations(connection, trial_id),
            peak_bytes=peak,
            place=place,
            resumed_from_steps=_STEPS.decoded(steps, what),
            notes=_notes_of(notes, what),
        )


def _evaluation_row(trial_id: str, evaluation: Evaluation) -> tuple[object, ...]:
    what = f"evaluation at step {evaluation.step} of trial {trial_id}"
    numbers = [getattr(evaluation, name) for name in _NUMBERS]
    for name, value in zip(_NUMBERS, numbers, strict=True):
        # SQLite would silently turn NaN into NULL.
        if value is not None and not math.isfinite(value):
            raise StoreError(
                f"{what}: {name} is {value}, which a store does not keep; give None for a number "
                "that is not known, where that is possible"
            )
    scores = _SCORES.encoded(evaluation.scores, f"scores of the {what}")
    measured = _MEASURED.encoded(dict(evaluation.measured), f"measured of the {what}")
    return (trial_id, evaluation.step, evaluation.samples, *numbers, measured, scores)


def _notes_column(notes: Sequence[Reason], what: str) -> str:
    return TEXTS.encoded(tuple(kept_reason(note) for note in notes), what)


def _notes_of(text: str, what: str) -> tuple[Reason, ...]:
    return tuple(reason_kept(note) for note in TEXTS.decoded(text, what))


def _status(text: str, what: str) -> Status:
    try:
        return Status(text)
    except ValueError as error:
        raise UnreadableColumn(what) from error
