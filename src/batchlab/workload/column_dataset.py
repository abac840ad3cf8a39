"""ColumnDataset: data as Hugging Face's `datasets` keeps them, known by their shape.

The library need not be installed: such data have `with_format`, a `format` that says what an
example's columns are given as, and dicts as examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from batchlab.workload.definition import Workload

_SPLITS = ("train", "validation", "test")


def with_torch_columns(workload: Workload) -> Workload:
    """`workload` whose column data sets give tensors, where they would give Python's numbers.

    A format that the user has chosen stays, and so does everything where a `collate` takes the
    examples as they are. Columns of text stay text.
    """
    if workload.collate is not None:
        return workload
    changed = {
        split: data.with_format("torch")
        for split in _SPLITS
        if _gives_numbers(data := getattr(workload, split))
    }
    return replace(workload, **changed) if changed else workload


def _gives_numbers(data: Any) -> bool:
    given: Any = getattr(data, "format", None)
    if not (isinstance(given, Mapping) and callable(getattr(data, "with_format", None))):
        return False
    return given.get("type", "") is None
