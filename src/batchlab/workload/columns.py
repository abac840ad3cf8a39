"""Columns: data held part by part, each with examples first; a memory map stays in its file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchlab.workload.containers import leaves, with_leaves

Part = Any  # a Tensor, or a NumPy array that is read row by row


class Columns:
    """Tensors and arrays with examples first, in tuples, lists and mappings.

    A batch of it has the same containers, with tensors of the chosen examples.
    """

    def __init__(self, held: Any) -> None:
        """Hold the parts as they are; nothing is read.

        Args:
            held: containers of tensors and NumPy arrays of one length.
        """
        self._held = held
        self.parts: tuple[Part, ...] = tuple(part for _, part in leaves(held))

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Any:
        """One example, as a `collate` of the user's own takes it."""
        return self.filled([_row(part, index) for part in self.parts])

    @property
    def is_resident(self) -> bool:
        """Whether all of it is tensors in memory, to be kept on the device."""
        return all(isinstance(part, Tensor) for part in self.parts)

    def filled(self, parts: Sequence[Any]) -> Any:
        """The containers around other parts: those of a batch."""
        return with_leaves(self._held, iter(parts))

    def with_parts(self, function: Callable[[Part], Part]) -> Columns:
        """The same columns with `function` of each part."""
        return Columns(self.filled([function(part) for part in self.parts]))

    def batch(self, chosen: Tensor) -> Any:
        """The chosen examples, copied out of the parts.

        Args:
            chosen: indices, int64, shape (n,).
        """
        return self.filled([_rows(part, chosen) for part in self.parts])


def resident_tensors(data: Any) -> tuple[Tensor, ...] | None:
    """The tensors of data that are kept whole in memory; None: they are not."""
    if isinstance(data, tuple):
        return data
    if isinstance(data, Columns) and data.is_resident:
        return data.parts
    return None


def _rows(part: Part, chosen: Tensor) -> Any:
    if isinstance(part, Tensor):
        return part.index_select(0, chosen.to(part.device))
    return _as_tensor(np.asarray(part[chosen.cpu().numpy()]))


def _row(part: Part, index: int) -> Any:
    if isinstance(part, Tensor):
        return part[index]
    if part.dtype.kind in "OUS":
        return part[index]
    return _as_tensor(np.array(part[index]))


def _as_tensor(rows: np.ndarray[Any, Any]) -> Tensor:
    if not rows.dtype.isnative:
        rows = rows.astype(rows.dtype.newbyteorder("="))
    return shared_tensor(rows)


def shared_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor over the memory of an array, which may be one for reading only."""
    with warnings.catch_warnings():
        # Nothing is written to it: trainings read copies of their own.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
