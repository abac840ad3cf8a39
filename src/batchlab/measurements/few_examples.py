"""FewExamples: batches of a few training examples, for a look at a workload."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from batchlab.measurements.users_code import asking
from batchlab.workload.definition import Batch, Data, Workload, size_of
from batchlab.workload.fetching import fetched


def first_batch(workload: Workload, n: int, *, copies: int = 1) -> Batch:
    """The first `n` training examples, each `copies` times, as a batch."""
    return batch_of(workload, range(min(n, size_of(workload.train))), copies=copies)


def batch_of(workload: Workload, chosen: Sequence[int], *, copies: int = 1) -> Batch:
    """The training examples `chosen`, each `copies` times, as a batch."""
    return batch_from(workload, workload.train, list(chosen) * copies, split="train")


def around(workload: Workload, n: int) -> Batch:
    """`n` training examples, from the first one again after the last."""
    n_train = size_of(workload.train)
    return batch_of(workload, [index % n_train for index in range(n)])


def batch_from(workload: Workload, data: Data, chosen: Sequence[int], *, split: str) -> Batch:
    """The examples `chosen` of a split as a batch.

    Raises:
        WorkloadError: fetching or collating them failed.
    """
    with asking(workload, f"fetching and collating examples of {split}"):
        return fetched(data, torch.tensor(chosen), workload.collate)
