"""step-time: what one optimizer step takes, alone on its device."""

from __future__ import annotations

from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity
from batchlab.records.study import Study


def _step_time(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    timing = study.timing(batch_size)
    if timing is None:
        return None
    return timing.step_s, tuple(block / timing.block_steps for block in timing.block_s)


MEASUREMENT = Measurement(
    quantity=quantity("step_s"),
    needs="batch_size",
    cost="a timed run of each batch size alone, before its trials",
    over_seeds="median",
    figure="cost",
    of_batch_size=_step_time,
)
