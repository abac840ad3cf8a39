"""TrainingBatches: which kind of batches a workload's training set is cut into."""

from __future__ import annotations

import torch

from batchlab.records.trial import Trial
from batchlab.training.batching import Batches, DatasetBatches, TensorBatches
from batchlab.training.stream_batches import StreamBatches
from batchlab.workload.columns import resident_tensors
from batchlab.workload.definition import Workload
from batchlab.workload.stream import is_stream


def training_batches(workload: Workload, trial: Trial, device: torch.device) -> Batches:
    """The batches of `workload`'s training set for `trial`."""
    if is_stream(workload.train):
        return StreamBatches(workload, trial, device)
    is_tuple = isinstance(workload.train, tuple)
    if is_tuple or (resident_tensors(workload.train) is not None and workload.collate is None):
        return TensorBatches(workload, trial, device)
    return DatasetBatches(workload, trial, device)
