"""Figure looks: how the batch sizes of a study are drawn."""

from __future__ import annotations

from batchlab.records.study import Study
from batchlab.report.parts.palette import Look, looks


def figure_looks(study: Study) -> tuple[Look, ...]:
    """How the batch sizes of a study are drawn."""
    sizes = [record.trial.batch_size for record in study.records]
    return looks(
        sizes or [timing.batch_size for timing in study.timings], n_train=study.workload.n_train
    )
