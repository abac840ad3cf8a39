"""peak-memory: the most memory a process holds above an idle one."""

from __future__ import annotations

from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity

MEASUREMENT = Measurement(
    quantity=quantity("peak_bytes"),
    needs="batch_size",
    cost="nothing: the system or the device counts it",
    over_seeds="largest",
    figure="cost",
)
