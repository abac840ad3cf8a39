"""Studies: what a store keeps of every question: its trials, its journal and its answers."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from typing import Final

from batchlab.errors import StoreError
from batchlab.records.study import Study
from batchlab.records.target import Target
from batchlab.store.column import PAIRS, TEXTS, JsonColumn, UnreadableColumn, now, printable
from batchlab.store.measurements import Measurements
from batchlab.store.trials import Trials

_TARGET: Final = JsonColumn[Target](Target)


class Studies(Trials, Measurements):
    """The studies of a store."""

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
            printable(command),
            workload_id,
            PAIRS.encoded(environment, f"environment of {what}"),
            TEXTS.encoded(tuple(trial_ids), f"trial ids of {what}"),
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
                (study_id, now(), *values),
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
                "spent_s, target FROM studies WHERE :id IS NULL OR study_id = :id "
                "ORDER BY asked DESC LIMIT 1",
                {"id": study_id},
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
                self._record(connection, trial_id) for trial_id in TEXTS.decoded(trial_ids, what)
            )
            records = tuple(record for record in asked if record is not None)
            return Study(
                study_id=found_id,
                command=command,
                created_at=created_at,
                workload=workload,
                environment=PAIRS.decoded(environment, what),
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

    def trial_ids(self, study_id: str) -> tuple[str, ...]:
        """The trials that a study has asked for by now, in that order; some may not have begun."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT trial_ids FROM studies WHERE study_id = ?", (study_id,)
            ).fetchone()
            if row is None:
                raise self._no_study(connection, study_id)
            return TEXTS.decoded(row[0], f"study {study_id}")

    def _no_study(self, connection: sqlite3.Connection, study_id: str | None) -> StoreError:
        known = [
            row[0] for row in connection.execute("SELECT study_id FROM studies ORDER BY asked")
        ]
        if not known:
            return StoreError(f"{self.path} holds no study yet; run a sweep with it first")
        return StoreError(f"no study {study_id!r} in {self.path}; it holds {', '.join(known)}")
