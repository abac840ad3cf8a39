"""Two more measurements: one of a model at a step, one of a batch size."""

from __future__ import annotations

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import Quantity
from batchlab.records.study import Study


def largest_weight(moment: Moment) -> float:
    return max(float(part.detach().abs().max()) for part in moment.model.parameters())


def _kept_memory(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    peak = study.peak_bytes(batch_size)
    return None if peak is None else (peak / 2, (peak / 2,))


MORE = (
    Measurement(
        quantity=Quantity(name="kept_bytes", unit="B", label="kept memory"),
        figure="cost",
        of_batch_size=_kept_memory,
        of_trial=lambda record: None if record.peak_bytes is None else record.peak_bytes / 2,
        short="kept",
    ),
    Measurement(
        quantity=Quantity(name="largest_weight", unit="", label="largest weight"),
        figure="along_training",
    ),
)
