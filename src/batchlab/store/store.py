"""Store: one SQLite file with studies, trials, evaluations and measured step times."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from batchlab.errors import StoreError
from batchlab.records.study import StepTiming, Study, StudyName, place_of
from batchlab.records.trial import Target, TrialRecord
from batchlab.store.file import not_whole
from batchlab.store.schema import TEXTS, JsonColumn, now, printable
from batchlab.store.trials import Trials, put_row, text_by

_TIMING: Final = JsonColumn[StepTiming](StepTiming)
_STUDY: Final = JsonColumn[StudyName](StudyName)
_TARGET: Final = JsonColumn[Target | None](Target | None)


class Store(Trials):
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

    def put_timing(self, timing: StepTiming) -> None:
        """Store one measurement of step times; earlier measurements are not deleted."""
        what = f"step times of batch size {timing.batch_size}"
        encoded = _TIMING.encoded(timing, what)
        with self._writing() as connection:
            shape = timing.device, timing.batch_size, timing.micro_batch_size
            connection.execute(
                "INSERT INTO measurements (workload_id, kind, device, batch_size, "
                "micro_batch_size, measured_at, value) VALUES (?, 'step_time', ?, ?, ?, ?, ?)",
                (timing.workload_id, *shape, now(), encoded),
            )

    def timings(
        self, workload_id: str, device: str, *, place: str | None
    ) -> tuple[StepTiming, ...]:
        """Return the latest step times of each (batch size, micro-batch size), in ascending order.

        Args:
            workload_id: the workload that was timed.
            device: the device that was timed, as in `StepTiming.device`.
            place: return only timings on this processor or GPU, or on an unknown one.
        """
        with self._reading() as connection:
            return self._timings(connection, workload_id, device, place)

    def _timings(
        self, connection: sqlite3.Connection, workload_id: str, device: str, place: str | None
    ) -> tuple[StepTiming, ...]:
        rows = connection.execute(
            "SELECT value FROM measurements WHERE kind = 'step_time' AND workload_id = ? "
            "AND device = ? ORDER BY measurement_id",
            (workload_id, device),
        )
        latest = {}
        for (value,) in rows:
            timing = _TIMING.decoded(value)
            if timing.place in (place, None):
                latest[timing.batch_size, timing.micro_batch_size] = timing
        return tuple(timing for _, timing in sorted(latest.items()))

    def _timings_of(
        self,
        connection: sqlite3.Connection,
        workload_id: str,
        records: Sequence[TrialRecord],
        environment: Sequence[tuple[str, str]],
    ) -> Iterator[StepTiming]:
        """Yield step times at the batch sizes of `records`, except sizes that a script ignored."""
        unused_sizes = {record.trial.batch_size for record in records if record.is_of_no_size}
        shapes: dict[str, set[tuple[int, int]]] = {}  # by device
        for record in records:
            trial = record.trial
            if trial.batch_size not in unused_sizes:
                shapes.setdefault(trial.device, set()).update(trial.micro_batch_sizes.items())
        for device in sorted(shapes):
            place = place_of(environment, device)
            for timing in self._timings(connection, workload_id, device, place):
                if (timing.batch_size, timing.micro_batch_size) in shapes[device]:
                    yield timing

    def put_study(
        self, study: StudyName, *, trial_ids: Sequence[str], target: Target | None = None
    ) -> None:
        """Store a requested study, which becomes the latest study.

        If a study with the same id is stored already, its trial ids, target and identity are
        replaced; its creation time, time spent and decisions are kept.

        Args:
            study: the study's identity; the study's workload must be in the store.
            trial_ids: the requested trials, in order; the trials need not have started.
            target: the requested target, or None.
        """
        what = f"study {study.study_id!r}"
        row: dict[str, object] = {
            "study_id": study.study_id,
            "workload_id": study.workload_id,
            "study": _STUDY.encoded(replace(study, command=printable(study.command)), what),
            "trial_ids": TEXTS.encoded(tuple(trial_ids), f"trial ids of {what}"),
            "target": _TARGET.encoded(target, f"target of {what}"),
        }
        with self._writing() as connection:
            last, created_at = connection.execute(
                "SELECT coalesce(max(asked), 0), max(CASE study_id WHEN ? THEN created_at END) "
                "FROM studies",
                (study.study_id,),
            ).fetchone()
            row |= {"asked": last + 1, "created_at": created_at or now()}
            put_row(connection, "studies", "study_id", row)

    def add_spent(self, study_id: str, seconds: float) -> None:
        """Add `seconds` (finite, not negative) to the time spent on a study in the store."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise StoreError(f"spent {seconds} s on study {study_id!r}: expected a time >= 0")
        with self._writing() as connection:
            connection.execute(
                "UPDATE studies SET spent_s = spent_s + ? WHERE study_id = ?", (seconds, study_id)
            )

    def put_decisions(self, study_id: str, decisions: str) -> None:
        """Replace the decisions of a study, a JSON list; the study must be in the store."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE studies SET decisions = ? WHERE study_id = ?", (decisions, study_id)
            )

    def decisions(self, study_id: str) -> str | None:
        """Return a study's decisions as stored by `put_decisions`, or None for an unknown study.

        The text is an empty JSON list if the study has no decisions.
        """
        with self._reading() as connection:
            query = "SELECT decisions FROM studies WHERE study_id = ?"
            return text_by(connection, query, study_id)

    def study(self, study_id: str | None = None) -> Study:
        """Return a study with its records; without an id, the study requested last.

        Records are in the requested order, without trials that have not started. Timings are the
        latest at the trials' batch sizes, on the processor or GPU where the study was requested.
        """
        with self._reading() as connection:
            row = connection.execute(
                "SELECT study, created_at, trial_ids, target, spent_s FROM studies "
                "WHERE :id IS NULL OR study_id = :id ORDER BY asked DESC LIMIT 1",
                {"id": study_id},
            ).fetchone()
            if row is None:
                raise self._no_study(connection, study_id)
            study_text, created_at, trial_ids, target, spent_s = row
            name = _STUDY.decoded(study_text)
            workload = self._workload(connection, name.workload_id)
            if workload is None:  # another program deleted the workload
                raise not_whole(self.path, "its content cannot be read")
            records = []
            for trial_id in TEXTS.decoded(trial_ids):
                record = self._record(connection, trial_id)
                if record is not None:
                    records.append(record)
            timings = self._timings_of(connection, name.workload_id, records, name.environment)
            return Study(
                study_id=name.study_id,
                command=name.command,
                created_at=created_at,
                workload=workload,
                environment=name.environment,
                records=tuple(records),
                timings=tuple(timings),
                spent_s=spent_s,
                target=_TARGET.decoded(target),
                margin=name.margin,
            )

    def studies(self) -> tuple[tuple[str, str, str], ...]:
        """Return the id, creation time and command of every study; the latest comes last.

        Times are ISO 8601, UTC.
        """
        with self._reading() as connection:
            rows = connection.execute("SELECT created_at, study FROM studies ORDER BY asked")
            names = [(created_at, _STUDY.decoded(text)) for created_at, text in rows]
        return tuple((name.study_id, created_at, name.command) for created_at, name in names)

    def _no_study(self, connection: sqlite3.Connection, study_id: str | None) -> StoreError:
        rows = connection.execute("SELECT study_id FROM studies ORDER BY asked")
        study_ids = ", ".join(row[0] for row in rows)
        if not study_ids:
            return StoreError(f"{self.path} holds no study yet; run a sweep with it first")
        return StoreError(f"no study {study_id!r} in {self.path}; it holds {study_ids}")

    def put_advice(self, study_id: str, advice: str) -> None:
        """Store or replace the advice of a study, as JSON; the study must be in the store."""
        row = {"study_id": study_id, "payload": advice}
        with self._writing() as connection:
            put_row(connection, "advices", "study_id", row)

    def advice(self, study_id: str) -> str | None:
        """Return the advice of a study, as JSON, or None if no advice is stored."""
        with self._reading() as connection:
            return text_by(connection, "SELECT payload FROM advices WHERE study_id = ?", study_id)
