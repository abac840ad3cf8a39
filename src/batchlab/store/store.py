"""Store: one SQLite file that holds studies, trials, evaluations and measured step times."""

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
    """A store that is opened or created; as a context manager, it closes itself.

    It belongs to the process and thread that opened it; any other must open its own. Several
    processes can write to one file at the same time.

    Args:
        path: the file; a missing or empty one becomes a new store.

    Attributes:
        path: the file, absolute.

    Raises:
        StoreError: from here and from every method, in one line that says what is wrong with the
            file (or with the new data) and what to do. Nothing is ever stored in part.
    """

    def put_timing(self, timing: StepTiming) -> None:
        """Store the step times of one run; earlier ones of the same shape are kept too."""
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
        """Return the latest step times of each batch size and micro-batch size, sorted by them.

        Args:
            workload_id: the workload that was timed.
            device: the `device` of the timings.
            place: as a `StepTiming` has it; timings of another place are left out.
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
        """Yield the step times of trials at `place`, without batch sizes a script did not use."""
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
        """Store that a study was requested; the study becomes the latest.

        A study that is asked for again under the same id keeps `created_at` and `spent_s`; the
        rest is replaced.

        Args:
            study: the study's identity; its workload must be in the store.
            trial_ids: the trials in the order asked for; they need not have begun.
            target: the target asked for.
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
        """Add seconds, finite and >= 0, to the time spent on a study in the store."""
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
        """Return a study's decisions as `put_decisions` got them, or None without such a study.

        A study that decides nothing has an empty list.
        """
        with self._reading() as connection:
            query = "SELECT decisions FROM studies WHERE study_id = ?"
            return text_by(connection, query, study_id)

    def study(self, study_id: str | None = None) -> Study:
        """Return a study with its records; without an id, the study requested last.

        Records come in the order asked for, without trials that have not begun. Timings are the
        latest of its trials' batch and micro-batch sizes, on their device where it was asked for.
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
            if workload is None:  # foreign keys bind us, but not other programs
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
        """Replace the answer of a study, as JSON; the study must be in the store."""
        row = {"study_id": study_id, "payload": advice}
        with self._writing() as connection:
            put_row(connection, "advices", "study_id", row)

    def advice(self, study_id: str) -> str | None:
        """Return the answer of a study, or None if there is none."""
        with self._reading() as connection:
            return text_by(connection, "SELECT payload FROM advices WHERE study_id = ?", study_id)
