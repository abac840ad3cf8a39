"""kept-memory: half the peak, as an example of a measurement of a batch size."""

from __future__ import annotations

from batchlab.records.measurement import Measurement
from batchlab.records.quantities import Quantity
from batchlab.records.study import Study


def _kept_memory(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    peak = study.peak_bytes(batch_size)
    return None if peak is None else (peak / 2, (peak / 2,))


MEASUREMENT = Measurement(
    quantity=Quantity(name="kept_bytes", unit="B", better="lower", label="kept memory"),
    needs="batch_size",
    cost="nothing",
    over_seeds="largest",
    figure="cost",
    of_batch_size=_kept_memory,
    of_trial=lambda record: None if record.peak_bytes is None else record.peak_bytes / 2,
    short="kept",
)
