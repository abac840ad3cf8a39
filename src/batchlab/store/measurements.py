"""Measurements: what a store keeps of what was measured on its own, alone on the machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from batchlab.records.step_timing import StepTiming
from batchlab.records.trial import TrialRecord
from batchlab.store.column import JsonColumn, now
from batchlab.store.workloads import Workloads

_TIMING: Final = JsonColumn[StepTiming](StepTiming)


class Measurements(Workloads):
    """The step times of a store's workloads."""

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
                    now(),
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
