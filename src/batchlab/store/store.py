"""Store: one SQLite file that holds studies, trials, evaluations and measured step times.

Whatever a call stored is there after it returned, also when the process is killed right then.
`docs/store.md` describes the tables and the guarantees.
"""

from __future__ import annotations

import fcntl
import math
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final

from batchlab.errors import StoreError
from batchlab.records.step_timing import StepTiming
from batchlab.records.study import Study, WorkloadSummary
from batchlab.records.trial import Evaluation, Score, Status, Target, Trial, TrialRecord
from batchlab.store.column import JsonColumn, UnreadableColumn, require_finite
from batchlab.store.file import explained, open_store_file

_SUMMARY: Final = JsonColumn[WorkloadSummary](WorkloadSummary)
_TIMING: Final = JsonColumn[StepTiming](StepTiming)
_TRIAL: Final = JsonColumn[Trial](Trial)
_TARGET: Final = JsonColumn[Target](Target)
_SCORES: Final = JsonColumn[tuple[Score, ...]](tuple[Score, ...])
_PAIRS: Final = JsonColumn[tuple[tuple[str, str], ...]](tuple[tuple[str, str], ...])
_TEXTS: Final = JsonColumn[tuple[str, ...]](tuple[str, ...])
_STEPS: Final = JsonColumn[tuple[int, ...]](tuple[int, ...])

_RECORD_COLUMNS = (
    "trial, status, reason, traceback, engine, threads, versions, target, peak_bytes, "
    "resumed_from_steps, notes"
)


class Store:
    """A store, opened or made; a context manager that closes it.

    It belongs to the process and thread that opened it; another opens its own. Several processes
    can write to one file at the same time.

    Args:
        path: the file; a missing or empty one becomes a new store.

    Attributes:
        path: the file, absolute.

    Raises:
        StoreError: from here and from every method: one line that says what is wrong with the
            file (or with what was to be stored) and what to do. Nothing is ever stored half.
    """

    path: Path

    def __init__(self, path: str | Path) -> None:
        self._open(Path(path), create=True)

    @classmethod
    def existing(cls, path: str | Path) -> Store:
        """The store at `path`, which must be there already."""
        store = cls.__new__(cls)
        store._open(Path(path), create=False)
        return store

    def _open(self, path: Path, *, create: bool) -> None:
        self._connection: sqlite3.Connection | None = None
        self.path = path.absolute()
        self._connection = open_store_file(path, create=create)
        self._owner = (os.getpid(), threading.get_ident())
        journal = self._connection.execute("PRAGMA journal_mode").fetchone()[0]
        self._uses_wal: bool = journal == "wal"

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._connection is not None and self._is_ours():
            with explained(self.path):
                self._connection.close()
        self._connection = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Workloads

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

    # Studies

    def put_study(
        self,
        *,
        study_id: str,
        command: str,
        workload_id: str,
        environment: tuple[tuple[str, str], ...],
        trial_ids: Sequence[str],
        target: Target | None = None,
    ) -> None:
        """Store that a study was asked for; it becomes the latest.

        Asked for again under the same id, it keeps `created_at` and `spent_s`; the rest is
        replaced.

        Args:
            study_id: its identity.
            command: the exact command line that asked for it.
            workload_id: of a workload that is in the store.
            environment: names and values.
            trial_ids: the trials in the order asked for; they need not have begun.
            target: the target asked for.
        """
        what = f"study {study_id!r}"
        values = (
            _printable(command),
            workload_id,
            _PAIRS.encoded(environment, f"environment of {what}"),
            _TEXTS.encoded(tuple(trial_ids), f"trial ids of {what}"),
            None if target is None else _TARGET.encoded(target, f"target of {what}"),
        )
        with self._writing() as connection:
            self._require_workload(connection, workload_id, what)
            connection.execute(
                "INSERT INTO studies (study_id, asked, created_at, command, workload_id, "
                "environment, trial_ids, target) "
                "VALUES (?, (SELECT coalesce(max(asked), 0) + 1 FROM studies), ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (study_id) DO UPDATE SET asked = excluded.asked, "
                "command = excluded.command, workload_id = excluded.workload_id, "
                "environment = excluded.environment, trial_ids = excluded.trial_ids, "
                "target = excluded.target",
                (study_id, _now(), *values),
            )

    def add_spent(self, study_id: str, seconds: float) -> None:
        """Add to the time spent on a study.

        Args:
            study_id: a study in the store.
            seconds: finite and >= 0.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise StoreError(f"spent {seconds} s on study {study_id!r}: expected a time >= 0")
        with self._writing() as connection:
            changed = connection.execute(
                "UPDATE studies SET spent_s = spent_s + ? WHERE study_id = ?", (seconds, study_id)
            )
            if not changed.rowcount:
                raise self._no_study(connection, study_id)

    def put_decisions(self, study_id: str, decisions: str) -> None:
        """Store what a study decided so far; it replaces what was stored before.

        Args:
            study_id: a study in the store.
            decisions: a JSON list; `journal` says of what.
        """
        with self._writing() as connection:
            changed = connection.execute(
                "UPDATE studies SET decisions = ? WHERE study_id = ?", (decisions, study_id)
            )
            if not changed.rowcount:
                raise self._no_study(connection, study_id)

    def decisions(self, study_id: str) -> str | None:
        """What a study decided so far, as `put_decisions` was given it; None: no such study.

        A study that decides nothing has an empty list.
        """
        with self._reading() as connection:
            row = connection.execute(
                "SELECT decisions FROM studies WHERE study_id = ?", (study_id,)
            ).fetchone()
            return None if row is None else str(row[0])

    def study(self, study_id: str | None = None) -> Study:
        """A study with its records; without an id the one asked for last.

        Records come in the order asked for, without the trials not yet begun. Timings are the
        latest of each batch size and micro-batch size that its trials have, on their device.
        """
        with self._reading() as connection:
            row = connection.execute(
                "SELECT study_id, command, created_at, workload_id, environment, trial_ids, "
                "spent_s, target FROM studies WHERE ?1 IS NULL OR study_id = ?1 "
                "ORDER BY asked DESC LIMIT 1",
                (study_id,),
            ).fetchone()
            if row is None:
                raise self._no_study(connection, study_id)
            found_id, command, created_at, workload_id, environment, trial_ids, spent_s, target = (
                row
            )
            what = f"study {found_id}"
            workload = self._workload(connection, workload_id)
            if workload is None:  # foreign keys hold against us, not against other programs
                raise UnreadableColumn(f"the workload of {what}")
            asked = (
                self._record(connection, trial_id) for trial_id in _TEXTS.decoded(trial_ids, what)
            )
            records = tuple(record for record in asked if record is not None)
            return Study(
                study_id=found_id,
                command=command,
                created_at=created_at,
                workload=workload,
                environment=_PAIRS.decoded(environment, what),
                records=records,
                timings=tuple(self._timings_of(connection, workload_id, records)),
                spent_s=spent_s,
                target=None if target is None else _TARGET.decoded(target, what),
            )

    def studies(self) -> tuple[tuple[str, str, str], ...]:
        """The id, time of creation and command of every study, the one asked for last at the end.

        Times are ISO 8601, UTC.
        """
        with self._reading() as connection:
            return tuple(
                connection.execute(
                    "SELECT study_id, created_at, command FROM studies ORDER BY asked"
                )
            )

    # Trials

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
            _PAIRS.encoded(record.versions, f"versions of {what}"),
            None if record.target is None else _TARGET.encoded(record.target, f"target of {what}"),
            record.peak_bytes,
            _STEPS.encoded(record.resumed_from_steps, f"resumed_from_steps of {what}"),
            _TEXTS.encoded(record.notes, f"notes of {what}"),
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

    def put_evaluations(self, trial_id: str, evaluations: Sequence[Evaluation]) -> None:
        """Store evaluations, all or none; one of the same step replaces the one before.

        Args:
            trial_id: a trial that has begun.
            evaluations: numbers that are not finite are None in them.
        """
        rows = [_evaluation_row(trial_id, evaluation) for evaluation in evaluations]
        # Killed processes lose nothing this way; only a power cut can take the last evaluations,
        # and not those of a finished trial. Waiting for the disk each time would slow small trials.
        with self._writing(wait_for_disk=False) as connection:
            found = connection.execute("SELECT 1 FROM trials WHERE trial_id = ?", (trial_id,))
            self._require_trial(trial_id, found=found.fetchone() is not None)
            connection.executemany(
                "INSERT OR REPLACE INTO evaluations (trial_id, step, samples, train_s, eval_s, "
                "batch_loss, gradient_norm, scores) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def drop_evaluations_after(self, trial_id: str, step: int) -> None:
        """Forget the evaluations past a checkpoint at `step`; they are made again on the way."""
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM evaluations WHERE trial_id = ? AND step > ?", (trial_id, step)
            )

    def finish_trial(
        self,
        trial_id: str,
        *,
        status: Status,
        reason: str | None,
        traceback: str | None,
        peak_bytes: int | None,
        notes: Sequence[str] = (),
    ) -> None:
        """Store how a trial ended.

        Args:
            trial_id: a trial that has begun.
            status: how it ended.
            reason: one line that says why it ended badly, None where it ended well.
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
            all_notes = tuple(dict.fromkeys((*_TEXTS.decoded(row[0], what), *notes)))
            connection.execute(
                "UPDATE trials SET status = ?, reason = ?, traceback = ?, peak_bytes = ?, "
                "notes = ? WHERE trial_id = ?",
                (
                    Status(status).value,
                    None if reason is None else _printable(reason),
                    None if traceback is None else _printable(traceback),
                    peak_bytes,
                    _TEXTS.encoded(all_notes, what),
                    trial_id,
                ),
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
            reason=reason,
            traceback=traceback,
            engine=engine,
            threads=threads,
            versions=_PAIRS.decoded(versions, what),
            target=None if target is None else _TARGET.decoded(target, what),
            evaluations=self._evaluations(connection, trial_id),
            peak_bytes=peak,
            resumed_from_steps=_STEPS.decoded(steps, what),
            notes=_TEXTS.decoded(notes, what),
        )

    def _evaluations(self, connection: sqlite3.Connection, trial_id: str) -> tuple[Evaluation, ...]:
        rows = connection.execute(
            "SELECT step, samples, train_s, eval_s, batch_loss, gradient_norm, scores "
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
                gradient_norm=gradient_norm,
                scores=_SCORES.decoded(scores, what),
            )
            for step, samples, train_s, eval_s, batch_loss, gradient_norm, scores in rows
        )

    # Measurements

    def put_timing(self, timing: StepTiming) -> None:
        """Store the step times of one run; earlier ones of the same shape are kept too."""
        what = f"step times of batch size {timing.batch_size}"
        encoded = _TIMING.encoded(timing, what)
        with self._writing() as connection:
            self._require_workload(connection, timing.workload_id, what)
            connection.execute(
                "INSERT INTO measurements (workload_id, kind, device, batch_size, "
                "micro_batch_size, measured_at, value) VALUES (?, 'step_time', ?, ?, ?, ?, ?)",
                (
                    timing.workload_id,
                    timing.device,
                    timing.batch_size,
                    timing.micro_batch_size,
                    _now(),
                    encoded,
                ),
            )

    def timings(self, workload_id: str, device: str) -> tuple[StepTiming, ...]:
        """The latest step times of each batch size and micro-batch size, in their order."""
        with self._reading() as connection:
            return self._timings(connection, workload_id, device)

    def _timings(
        self, connection: sqlite3.Connection, workload_id: str, device: str
    ) -> tuple[StepTiming, ...]:
        rows = connection.execute(
            "SELECT value FROM measurements WHERE measurement_id IN ("
            "SELECT max(measurement_id) FROM measurements "
            "WHERE kind = 'step_time' AND workload_id = ? AND device = ? "
            "GROUP BY batch_size, micro_batch_size) ORDER BY batch_size, micro_batch_size",
            (workload_id, device),
        )
        what = f"step times of workload {workload_id}"
        return tuple(_TIMING.decoded(value, what) for (value,) in rows)

    def _timings_of(
        self, connection: sqlite3.Connection, workload_id: str, records: Iterable[TrialRecord]
    ) -> Iterator[StepTiming]:
        """The step times that these trials' own shapes take."""
        shapes = {
            (record.trial.device, record.trial.batch_size, record.trial.micro_batch_size)
            for record in records
        }
        for device in sorted({device for device, _, _ in shapes}):
            for timing in self._timings(connection, workload_id, device):
                if (device, timing.batch_size, timing.micro_batch_size) in shapes:
                    yield timing

    # Files beside the store

    def checkpoint_path(self, trial_id: str) -> Path:
        """Where the checkpoint of a trial belongs; its folder is there, the file may not be."""
        return self._beside(f"{trial_id}.safetensors")

    @contextmanager
    def claim(self, trial_id: str) -> Iterator[bool]:
        """Claim a trial for this process: True if it is ours now, False if another has it.

        The claim ends with the block, or with the process however it ends, so none is ever stale.
        A child made by a bare fork inside the block shares the claim.
        """
        path = self._beside(f"{trial_id}.lock")
        try:
            # Opened anew each time: flock is between open files, so it also holds inside a process.
            file = path.open("ab")
        except OSError as error:
            raise self._beside_error(path, error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_ours = True
            except BlockingIOError:
                is_ours = False
            except OSError as error:
                raise self._beside_error(path, error) from error
            yield is_ours

    def _beside(self, name: str) -> Path:
        folder = self.path.with_name(f"{self.path.name}.checkpoints")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise self._beside_error(folder, error) from error
        return folder / name

    def _beside_error(self, path: Path, error: OSError) -> StoreError:
        return StoreError(
            f"{path} cannot be made ({error.strerror}); see that the folder of the store can be "
            "written to and has space"
        )

    # Reading and writing

    @contextmanager
    def _writing(self, *, wait_for_disk: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is stored when the block ends, nothing when it raises."""
        connection = self._usable_connection()
        with explained(self.path):
            # Only WAL stays whole in a power cut when the disk was not waited for.
            synchronous = "FULL" if wait_for_disk or not self._uses_wal else "NORMAL"
            connection.execute(f"PRAGMA synchronous={synchronous}")
            # IMMEDIATE waits for the other writer now; a later upgrade could only fail.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot: what others write meanwhile is not seen."""
        connection = self._usable_connection()
        with explained(self.path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _is_ours(self) -> bool:
        # SQLite's locks do not pass a fork: a child that wrote through it would corrupt the file.
        return self._owner == (os.getpid(), threading.get_ident())

    def _usable_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the store {self.path} is closed; open it again with Store(path)")
        if not self._is_ours():
            raise StoreError(
                f"the store {self.path} was opened by another process or thread; open it again here"
            )
        return self._connection

    def _require_workload(
        self, connection: sqlite3.Connection, workload_id: str, what: str
    ) -> None:
        found = connection.execute("SELECT 1 FROM workloads WHERE workload_id = ?", (workload_id,))
        if found.fetchone() is None:
            raise StoreError(
                f"{what}: its workload {workload_id!r} is not in {self.path}; store that first "
                "(put_workload)"
            )

    def _require_trial(self, trial_id: str, *, found: bool) -> None:
        if not found:
            raise StoreError(
                f"trial {trial_id} has not begun in {self.path}; store that first (begin_trial)"
            )

    def _no_study(self, connection: sqlite3.Connection, study_id: str | None) -> StoreError:
        known = [
            row[0] for row in connection.execute("SELECT study_id FROM studies ORDER BY asked")
        ]
        if not known:
            return StoreError(f"{self.path} holds no study yet; run a sweep with it first")
        return StoreError(f"no study {study_id!r} in {self.path}; it holds {', '.join(known)}")


def _evaluation_row(trial_id: str, evaluation: Evaluation) -> tuple[object, ...]:
    what = f"evaluation at step {evaluation.step} of trial {trial_id}"
    numbers = {
        "train_s": evaluation.train_s,
        "eval_s": evaluation.eval_s,
        "batch_loss": evaluation.batch_loss,
        "gradient_norm": evaluation.gradient_norm,
    }
    for name, value in numbers.items():
        if value is not None:  # SQLite would turn NaN into NULL in silence
            require_finite(value, f"{what}: {name}")
    scores = _SCORES.encoded(evaluation.scores, f"scores of the {what}")
    return (trial_id, evaluation.step, evaluation.samples, *numbers.values(), scores)


def _status(text: str, what: str) -> Status:
    try:
        return Status(text)
    except ValueError as error:
        raise UnreadableColumn(what) from error


def _printable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a command line that it can't are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
