"""peak-memory: the most memory a process holds above an idle one."""

from __future__ import annotations

from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity
from batchlab.records.study import Study


def _peak_memory(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    peak = study.peak_bytes(batch_size)
    return None if peak is None else (peak, (peak,))


MEASUREMENT = Measurement(
    quantity=quantity("peak_bytes"),
    needs="batch_size",
    cost="nothing: the system or the device counts it",
    over_seeds="largest",
    figure="cost",
    of_batch_size=_peak_memory,
)
