"""Workloads: what a store knows of the workloads that were trained."""

from __future__ import annotations

import sqlite3
from typing import Final

from batchlab.errors import StoreError
from batchlab.records.study import WorkloadSummary
from batchlab.store.column import JsonColumn
from batchlab.store.connection import StoreConnection

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
