"""Fetching: chosen examples of any data that can be asked by index, as one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset, default_collate

from batchlab.workload.columns import Columns, resident_tensors
from batchlab.workload.definition import Batch, Data
from batchlab.workload.keyed_order import KeyedOrder, listed
from batchlab.workload.loader_template import Collated
from batchlab.workload.stream import examples_of, is_stream

Collate = Callable[[list[Any]], Batch]


class ChosenPart(Subset[Any]):
    """Some examples of other data, by their indices in it, which are kept as a tensor.

    A list of them, as PyTorch's own has, would take 40 bytes for each and process. Of very many no
    list is kept at all.
    """

    def __init__(self, dataset: Any, indices: Tensor | KeyedOrder) -> None:
        """Hold both as they are.

        Args:
            dataset: what they are chosen from.
            indices: int64, shape (n,), or what is read like that.
        """
        self.dataset = dataset
        self.indices: Any = indices

    def __getitem__(self, index: Any) -> Any:
        """One example of the other data."""
        return self.dataset[int(self.indices[index])]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Several examples of the other data."""
        chosen = self.indices[torch.as_tensor(indices)].tolist()
        return examples_at(self.dataset, chosen)


def chosen_part(data: Data, chosen: Tensor | KeyedOrder) -> Data:
    """Some examples of a split, of the same kind; copied where they are tensors.

    Args:
        data: no stream.
        chosen: indices, int64, shape (n,), or what is read like that.
    """
    if resident_tensors(data) is None:
        return ChosenPart(data, chosen)
    places = listed(chosen)
    if isinstance(data, tuple):
        return tuple(part[places.to(part.device)] for part in data)
    assert isinstance(data, Columns)
    return data.with_parts(lambda part: part[places.to(part.device)])


def fetched(data: Data, chosen: Tensor, collate: Collate | None) -> Batch:
    """The chosen examples as one batch, where the data are.

    Args:
        data: of a split; a stream is read up to the last of the chosen.
        chosen: indices, int64, shape (n,).
        collate: the user's own; None: PyTorch's default, or what columns give themselves.
    """
    return fetched_in_parts(data, chosen, collate, most=len(chosen))[0]


def fetched_in_parts(
    data: Data, chosen: Tensor, collate: Collate | None, *, most: int
) -> tuple[Batch, ...]:
    """The chosen examples in batches of `most`, the last with what is left.

    Args:
        data: of a split; a stream is read up to the last of the chosen.
        chosen: indices, int64, shape (n,).
        collate: the user's own; None: PyTorch's default, or what columns give themselves.
        most: examples of a batch, at least 1.
    """
    if isinstance(data, tuple):
        data, collate = Columns(data), None
    if isinstance(data, Collated):
        data, collate = data.dataset, data.collate
    if collate is None:
        while isinstance(data, ChosenPart):
            data, chosen = data.dataset, data.indices[chosen]
        if isinstance(data, Columns):
            return tuple(map(data.batch, chosen.split(most)))
    examples = examples_at(data, chosen.tolist())
    together = collate or default_collate
    return tuple(together(examples[at : at + most]) for at in range(0, len(examples), most))


def examples_at(data: Any, chosen: list[int]) -> list[Any]:
    """The examples one by one, or all at once where the data offer that.

    Args:
        data: a map-style data set or a stream.
        chosen: the places of the examples.
    """
    if is_stream(data):
        return examples_of(data, chosen)
    together = getattr(data, "__getitems__", None)
    if callable(together):
        return list(together(chosen))
    return [data[index] for index in chosen]
