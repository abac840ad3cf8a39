"""Batch text: batch sizes in words, the whole training set by its name."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.records.study import Study
from batchlab.words.catalogue import listing, number_text, text


def batch_sizes_text(study: Study, batch_sizes: Sequence[int]) -> str:
    """Several batch sizes in words: "batch sizes 32, 128 and 512"."""
    if len(batch_sizes) == 1:
        return batch_text(study, batch_sizes[0])
    full = study.workload.n_train
    named = [
        text("{n} (full)", n=size) if size == full else number_text(size, "")
        for size in batch_sizes
    ]
    return text("batch sizes {named}", named=listing(named))


def batch_text(study: Study, batch_size: int) -> str:
    """A batch size in words: "batch size 64", "full batch"."""
    if batch_size == study.workload.n_train:
        return text("full batch")
    return text("batch size {batch_size}", batch_size=batch_size)
