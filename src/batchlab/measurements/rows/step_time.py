"""step-time: what one optimizer step takes, alone on its device."""

from __future__ import annotations

from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity

MEASUREMENT = Measurement(
    quantity=quantity("step_s"),
    needs="batch_size",
    cost="a timed run of each batch size alone, before its trials",
    over_seeds="median",
    figure="cost",
)
