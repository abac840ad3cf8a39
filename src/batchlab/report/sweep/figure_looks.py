"""Figure looks: how the batch sizes of a study are drawn."""

from __future__ import annotations

from batchlab.records.study import Study
from batchlab.report.parts.palette import Look, looks


def figure_looks(study: Study) -> tuple[Look, ...]:
    """How the batch sizes of a study are drawn."""
    return looks(study.batch_sizes, n_train=study.workload.n_train)
