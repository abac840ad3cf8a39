"""WorkloadDocument: what was trained, as every document that `--json` prints tells it."""

from __future__ import annotations

import msgspec

from batchlab.records.adam_settings import AdamSettings
from batchlab.records.quantities import Better
from batchlab.records.study import Study


class WorkloadDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained.

    `metrics` gives the direction of each, the first is the one that counts; `adam` the optimizer's
    betas and eps at `batch_size`, null where it does not have both.
    """

    workload_id: str
    name: str
    reference: str
    settings: dict[str, str | int | float | bool | None]
    n_train: int
    n_validation: int | None
    n_test: int
    n_train_evaluated: int
    n_parameters: int | None
    metrics: dict[str, Better]
    batch_size: int
    learning_rate: float
    adam: AdamSettings | None
    warnings: tuple[str, ...]


def workload_document(study: Study) -> WorkloadDocument:
    """What the trials of a study trained."""
    summary = study.workload
    return WorkloadDocument(
        workload_id=summary.workload_id,
        name=summary.name,
        reference=summary.reference,
        settings=dict(summary.settings),
        n_train=summary.n_train,
        n_validation=summary.n_validation,
        n_test=summary.n_test,
        n_train_evaluated=summary.n_train_evaluated,
        n_parameters=summary.n_parameters,
        metrics={metric.name: metric.better for metric in summary.metrics},
        batch_size=summary.batch_size,
        learning_rate=summary.learning_rate,
        adam=summary.adam,
        warnings=summary.warnings,
    )
