"""Trials: what a store keeps of every training run: what was asked, what was seen, how it ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Evaluation, Score, Status, Target, Trial, TrialRecord
from batchlab.store.file import StoreConnection
from batchlab.store.schema import (
    PAIRS,
    TEXTS,
    JsonColumn,
    UnreadableColumn,
    kept_reason,
    printable,
    reason_kept,
    require_finite,
)

_SCORES: Final = JsonColumn[tuple[Score, ...]](tuple[Score, ...])
_MEASURED: Final = JsonColumn[dict[str, float | None]](dict[str, float | None])


class Evaluations(StoreConnection):
    """The evaluations of a store's trials."""

    def put_evaluations(self, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations, all or none; one of the same step replaces the one before.

        Args:
            trial_id: a trial that has begun.
            evaluations: numbers that are not finite are None in them.
        """
        # Killed processes lose nothing this way; only a power cut can take the last evaluations,
        # and not those of a finished trial. Waiting for the disk each time would slow small trials.
        with self._writing(wait_for_disk=False) as connection:
            found = connection.execute("SELECT 1 FROM trials WHERE trial_id = ?", (trial_id,))
            self._require_trial(trial_id, found=found.fetchone() is not None)
            self._insert_evaluations(connection, trial_id, evaluations)

    def _insert_evaluations(
        self, connection: sqlite3.Connection, trial_id: str, evaluations: Sequence[Evaluation]
    ) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO evaluations (trial_id, step, samples, train_s, eval_s, "
            "batch_loss, measured, scores) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [_evaluation_row(trial_id, evaluation) for evaluation in evaluations],
        )

    def drop_evaluations_after(self, trial_id: str, step: int) -> None:
        """Forget the evaluations past a checkpoint at `step`; they are made again on the way."""
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM evaluations WHERE trial_id = ? AND step > ?", (trial_id, step)
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

    def _require_trial(self, trial_id: str, *, found: bool) -> None:
        if not found:
            raise StoreError(
                f"trial {trial_id} has not begun in {self.path}; store that first (begin_trial)"
            )


def _evaluation_row(trial_id: str, evaluation: Evaluation) -> tuple[object, ...]:
    what = f"evaluation at step {evaluation.step} of trial {trial_id}"
    numbers = {
        "train_s": evaluation.train_s,
        "eval_s": evaluation.eval_s,
        "batch_loss": evaluation.batch_loss,
    }
    for name, value in numbers.items():
        if value is not None:  # SQLite would turn NaN into NULL in silence
            require_finite(value, f"{what}: {name}")
    scores = _SCORES.encoded(evaluation.scores, f"scores of the {what}")
    measured = _MEASURED.encoded(dict(evaluation.measured), f"measured of the {what}")
    return (trial_id, evaluation.step, evaluation.samples, *numbers.values(), measured, scores)


_SUMMARY: Final = JsonColumn[WorkloadSummary](WorkloadSummary)


class Workloads(StoreConnection):
    """The workloads of a store."""

    def put_workload(self, summary: WorkloadSummary) -> None:
        """Store what is known of a workload; again with the same id replaces it."""
        encoded = _SUMMARY.encoded(summary, f"workload {summary.name!r}")
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO workloads (workload_id, name, summary) VALUES (?, ?, ?) "
                "ON CONFLICT (workload_id) DO UPDATE SET "
                "name = excluded.name, summary = excluded.summary",
                (summary.workload_id, summary.name, encoded),
            )

    def workload(self, workload_id: str) -> WorkloadSummary | None:
        """What is known of the workload, None if it is not in the store."""
        with self._reading() as connection:
            return self._workload(connection, workload_id)

    def _workload(self, connection: sqlite3.Connection, workload_id: str) -> WorkloadSummary | None:
        row = connection.execute(
            "SELECT summary FROM workloads WHERE workload_id = ?", (workload_id,)
        ).fetchone()
        if row is None:
            return None
        return _SUMMARY.decoded(row[0], f"workload {workload_id}")

    def _require_workload(
        self, connection: sqlite3.Connection, workload_id: str, what: str
    ) -> None:
        found = connection.execute("SELECT 1 FROM workloads WHERE workload_id = ?", (workload_id,))
        if found.fetchone() is None:
            raise StoreError(
                f"{what}: its workload {workload_id!r} is not in {self.path}; store that first "
                "(put_workload)"
            )


_TRIAL: Final = JsonColumn[Trial](Trial)
_TARGET: Final = JsonColumn[Target](Target)
_STEPS: Final = JsonColumn[tuple[int, ...]](tuple[int, ...])

_RECORD_COLUMNS = (
    "trial, status, reason, traceback, engine, threads, versions, target, peak_bytes, "
    "resumed_from_steps, notes"
)


class Trials(Workloads, Evaluations):
    """The trials of a store."""

    def begin_trial(self, record: TrialRecord) -> None:
        """Store that a trial begins or goes on: from now on it has no status.

        Its evaluations are not looked at (`put_evaluations` and `drop_evaluations_after` do
        that), nor are status, reason and traceback.

        Args:
            record: of a workload that is in the store.
        """
        # Before the identity, which a number that is not finite has none of.
        encoded = _TRIAL.encoded(record.trial, f"trial of {record.trial.workload}")
        trial_id = record.trial.trial_id
        what = f"trial {trial_id}"
        values = (
            record.engine,
            record.threads,
            PAIRS.encoded(record.versions, f"versions of {what}"),
            None if record.target is None else _TARGET.encoded(record.target, f"target of {what}"),
            record.peak_bytes,
            _STEPS.encoded(record.resumed_from_steps, f"resumed_from_steps of {what}"),
            _notes_column(record.notes, f"notes of {what}"),
        )
        with self._writing() as connection:
            self._require_workload(connection, record.trial.workload_id, what)
            connection.execute(
                "INSERT INTO trials (trial_id, workload_id, trial, engine, threads, versions, "
                "target, peak_bytes, resumed_from_steps, notes) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (trial_id) DO UPDATE SET status = NULL, reason = NULL, "
                "traceback = NULL, engine = excluded.engine, threads = excluded.threads, "
                "versions = excluded.versions, target = excluded.target, "
                "peak_bytes = excluded.peak_bytes, "
                "resumed_from_steps = excluded.resumed_from_steps, notes = excluded.notes",
                (trial_id, record.trial.workload_id, encoded, *values),
            )

    def restart_trial(self, trial_id: str) -> None:
        """Forget what was observed of a trial and that it was resumed, to run it from step 0."""
        with self._writing() as connection:
            connection.execute("DELETE FROM evaluations WHERE trial_id = ?", (trial_id,))
            changed = connection.execute(
                "UPDATE trials SET status = NULL, reason = NULL, traceback = NULL, "
                "peak_bytes = NULL, resumed_from_steps = '[]' WHERE trial_id = ?",
                (trial_id,),
            )
            self._require_trial(trial_id, found=bool(changed.rowcount))

    def replace_evaluations(
        self,
        trial_id: str,
        evaluations: Sequence[Evaluation],
        *,
        resumed_from_steps: tuple[int, ...],
    ) -> None:
        """Put the curve of another run in place of the one that is stored, all or nothing.

        Args:
            trial_id: a trial that has begun.
            evaluations: all of the new curve.
            resumed_from_steps: where that was taken up.
        """
        steps = _STEPS.encoded(resumed_from_steps, f"resumed_from_steps of trial {trial_id}")
        with self._writing() as connection:
            changed = connection.execute(
                "UPDATE trials SET resumed_from_steps = ? WHERE trial_id = ?", (steps, trial_id)
            )
            self._require_trial(trial_id, found=bool(changed.rowcount))
            connection.execute("DELETE FROM evaluations WHERE trial_id = ?", (trial_id,))
            self._insert_evaluations(connection, trial_id, evaluations)

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
        """Store how a trial ended.

        Args:
            trial_id: a trial that has begun.
            status: how it ended.
            reason: why it ended badly, None where it ended well.
            traceback: the whole report of an error, None without one.
            peak_bytes: peak memory of its process, None: not reported.
            notes: added to those it began with.
        """
        with self._writing() as connection:
            row = connection.execute(
                "SELECT notes FROM trials WHERE trial_id = ?", (trial_id,)
            ).fetchone()
            self._require_trial(trial_id, found=row is not None)
            what = f"notes of trial {trial_id}"
            all_notes = tuple(dict.fromkeys((*_notes_of(row[0], what), *notes)))
            connection.execute(
                "UPDATE trials SET status = ?, reason = ?, traceback = ?, peak_bytes = ?, "
                "notes = ? WHERE trial_id = ?",
                (
                    Status(status).value,
                    None if reason is None else kept_reason(reason),
                    None if traceback is None else printable(traceback),
                    peak_bytes,
                    _notes_column(all_notes, what),
                    trial_id,
                ),
            )

    def put_record(self, record: TrialRecord) -> None:
        """Store a trial with all that was observed of it: how it began, went and ended.

        Evaluations at other steps that the store holds already stay.

        Args:
            record: of a workload that is in the store; without a status, it has not ended.
        """
        trial_id = record.trial.trial_id
        self.begin_trial(record)
        self.put_evaluations(trial_id, record.evaluations)
        if record.status is not None:
            self.finish_trial(
                trial_id,
                status=record.status,
                reason=record.reason,
                traceback=record.traceback,
                peak_bytes=record.peak_bytes,
            )

    def record(self, trial_id: str) -> TrialRecord | None:
        """A trial and all that was observed of it, None if it has not begun."""
        with self._reading() as connection:
            return self._record(connection, trial_id)

    def _record(self, connection: sqlite3.Connection, trial_id: str) -> TrialRecord | None:
        row = connection.execute(
            f"SELECT {_RECORD_COLUMNS} FROM trials WHERE trial_id = ?", (trial_id,)
        ).fetchone()
        if row is None:
            return None
        trial, status, reason, traceback, engine, threads, versions, target, peak, steps, notes = (
            row
        )
        what = f"trial {trial_id}"
        return TrialRecord(
            trial=_TRIAL.decoded(trial, what),
            status=None if status is None else _status(status, what),
            reason=None if reason is None else reason_kept(reason),
            traceback=traceback,
            engine=engine,
            threads=threads,
            versions=PAIRS.decoded(versions, what),
            target=None if target is None else _TARGET.decoded(target, what),
            evaluations=self._evaluations(connection, trial_id),
            peak_bytes=peak,
            resumed_from_steps=_STEPS.decoded(steps, what),
            notes=_notes_of(notes, what),
        )


def _notes_column(notes: Sequence[Reason], what: str) -> str:
    return TEXTS.encoded(tuple(kept_reason(note) for note in notes), what)


def _notes_of(text: str, what: str) -> tuple[Reason, ...]:
    return tuple(reason_kept(note) for note in TEXTS.decoded(text, what))


def _status(text: str, what: str) -> Status:
    try:
        return Status(text)
    except ValueError as error:
        raise UnreadableColumn(what) from error
