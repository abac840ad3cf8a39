"""peak-memory: the most memory a process holds above an idle one."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.words.catalogue import text


def _peak_memory(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    peak = study.peak_bytes(batch_size)
    return None if peak is None else (peak, (peak,))


def _of_trial(record: TrialRecord) -> float | None:
    return record.peak_bytes


def _notes(study: Study) -> Iterator[str]:
    if any(study.peak_bytes(batch_size) is not None for batch_size in study.batch_sizes):
        yield text("Memory is the peak of the process above an idle one.")
    else:
        yield text("Peak memory was not reported on this device.")


MEASUREMENT = Measurement(
    quantity=quantity("peak_bytes"),
    needs="batch_size",
    cost="nothing: the system or the device counts it",
    over_seeds="largest",
    figure="cost",
    of_batch_size=_peak_memory,
    of_trial=_of_trial,
    short="memory",
    notes=_notes,
)
