"""BatchCountCheck: can the examples of a batch be counted by its first tensor?"""

from __future__ import annotations

from itertools import islice

from batchlab.errors import WorkloadError
from batchlab.measurements.few_examples import batch_from
from batchlab.records.runnable_sizes import RunnableSizes
from batchlab.training.batching import n_examples
from batchlab.training.whole_set_metric import is_over_all
from batchlab.workload.definition import Metric, Workload, size_of

_SPLITS = ("train", "validation", "test")
_TRIED = range(2, 65)


def check_batch_counts(workload: Workload, sizes: RunnableSizes) -> None:
    """Compare two small batches with how many examples were fetched for them.

    Without a `weight`, batches of unlike size count by the length of their first tensor. Twice the
    number of examples (two views of each) is as good: weights are only ever compared. Sequences
    with time first, joined sequences or a list of images count as something else.

    Args:
        workload: what is trained.
        sizes: how many examples the model takes.

    Raises:
        WorkloadError: the counts do not grow with the examples.
    """
    few = list(islice(filter(sizes.holds, _TRIED), 2))
    if len(few) < 2 or not _counts_by_tensor(workload):
        return
    for split in _SPLITS:
        data = getattr(workload, split)
        n = size_of(data)
        if n == 0 or isinstance(data, tuple):  # tensors with examples first
            continue
        counted = [
            n_examples(batch_from(workload, data, [at % n for at in range(size)], split=split))
            for size in few
        ]
        if counted[0] * few[1] != counted[1] * few[0]:
            raise WorkloadError(
                f"workload {workload.name!r}: batches of {few[0]} and {few[1]} examples of {split} "
                f"count as {counted[0]} and {counted[1]}, by the length of their first tensor; "
                f"give `weight`, such as weight=lambda batch: len(batch[1]), or let `collate` put "
                f"a tensor with examples first"
            )


def _counts_by_tensor(workload: Workload) -> bool:
    """Whether anything is weighed by the number of examples that a batch shows."""
    if workload.weight is not None:
        return False
    return not all(
        is_over_all(workload, name) or _has_count(workload.metrics.get(name))
        for name in workload.metric_names
    )


def _has_count(metric: object) -> bool:
    return isinstance(metric, Metric) and metric.count is not None
