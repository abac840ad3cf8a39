"""StatefulMetric: an object that is fed batch by batch, as those of torchmetrics are.

It is known by its shape (`update`, `compute`, `reset`, `higher_is_better`), so that the library
need not be installed.
"""

from __future__ import annotations

from typing import Any

from batchlab.errors import WorkloadError
from batchlab.records.quantities import Better


def is_stateful(metric: object) -> bool:
    """Whether a metric is fed by `update`, asked by `compute` and emptied by `reset`."""
    return all(callable(getattr(metric, name, None)) for name in ("update", "compute", "reset"))


def direction_of(metric: Any, *, metric_name: str, workload: str) -> Better:
    """What the object itself says of its direction.

    Args:
        metric: a stateful one.
        metric_name: its name, for the message.
        workload: the workload's name, for the message.

    Raises:
        WorkloadError: it does not say.
    """
    higher = getattr(metric, "higher_is_better", None)
    if higher is None:
        kind = type(metric).__name__
        raise WorkloadError(
            f"workload {workload!r}: metric {metric_name!r} ({kind}) does not say whether higher "
            f'is better; wrap it: batchlab.Metric(over_all={kind}(...), better="higher" or "lower")'
        )
    return "higher" if higher else "lower"
