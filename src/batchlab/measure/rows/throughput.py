"""throughput: the examples that go through a second of steps, alone on their device."""

from __future__ import annotations

from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity
from batchlab.records.study import Study


def _throughput(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    timing = study.timing(batch_size)
    if timing is None:
        return None
    # As the step times are shown: each block's time per step first.
    step_s = [block / timing.block_steps for block in timing.block_s]
    return timing.samples_per_s, tuple(timing.batch_size / value for value in step_s)


MEASUREMENT = Measurement(
    quantity=quantity("samples_per_s"),
    needs="batch_size",
    cost="nothing beside the step time",
    over_seeds="median",
    figure="cost",
    of_batch_size=_throughput,
)
