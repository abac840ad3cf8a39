"""HeldValues: what a Dataset holds in memory, hashed in full, for one label may have changed.

Tensors and arrays count, also in lists, and long lists of numbers, texts and rows of them. What
lies in a file is left to `fingerprint`. Nothing here calls the Dataset.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from batchlab.workload.file_region import WORTH_LOOKING_UP_BYTES, file_region
from batchlab.workload.fingerprint import add_region

# What is shorter is an option rather than data; 64 examples that are read show it anyway.
_LONG = 33
_DEEPEST = 4
_AT_ONCE = 65_536  # bounds the memory that a hash takes
_PLAIN: set[type] = {int, float, complex, bool, str, bytes}
# Without references between equal objects, which are another thing in another process.
_MARSHAL_VERSION = 2


class Digest(Protocol):
    """Of `hashlib`."""

    def update(self, data: Any, /) -> None:
        """Take in more bytes."""
        ...


def add_tensor(digest: Digest, tensor: Tensor) -> None:
    """Update a hash with type, shape and all numbers of a tensor."""
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.numel():
        digest.update(flat.view(torch.uint8).numpy().data)


def add_array(digest: Digest, array: np.ndarray[Any, Any]) -> None:
    """Update a hash with type, shape and all numbers of an array; of a map, with its file's part.

    Raises:
        OSError: the file cannot be read.
    """
    digest.update(f"{array.dtype} {array.shape}".encode())
    region = file_region(array)
    if region is not None:
        add_region(digest, region)
    elif array.size:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def add_held(digest: Digest, dataset: object, seen: dict[int, Any]) -> None:
    """Update a hash with what a Dataset holds, and Datasets inside it.

    Args:
        digest: the hash.
        dataset: a Dataset of any kind.
        seen: what was taken in before, by its id; it counts once for all splits together.
    """
    for value in _held(dataset, depth=0):
        if id(value) in seen:
            digest.update(b"again")
            continue
        seen[id(value)] = value  # kept, so that its id is not given to another
        _add(digest, value, depth=0)


def _held(value: object, depth: int) -> Iterator[Any]:
    """The tensors, arrays, frames and long lists among what a Dataset keeps."""
    if _is_numbers(value) or _is_frame(value) or (_is_list(value) and len(value) >= _LONG):  # type: ignore[arg-type]
        yield value
        return
    parts: Sequence[object] = ()
    if depth == 0 or isinstance(value, Dataset):
        parts = list(getattr(value, "__dict__", {}).values())
    elif isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        parts = list(value.values())  # under numbers lies what was read so far: a cache
    elif _is_list(value):
        parts = value  # type: ignore[assignment]
    if depth < _DEEPEST:
        for part in parts:
            yield from _held(part, depth + 1)


def _add(digest: Digest, value: Any, depth: int) -> None:
    try:
        if isinstance(value, Tensor):
            if file_region(value) is None:
                add_tensor(digest, value)
        elif isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                _add_list(digest, value.ravel().tolist(), depth)
            elif file_region(value) is None:
                add_array(digest, value)
        elif _is_list(value):
            _add_list(digest, value, depth)
        elif _is_frame(value):
            _add_frame(digest, value)
    except (TypeError, ValueError, RuntimeError):  # a kind of tensor without numbers to read
        digest.update(type(value).__qualname__.encode())


def _add_list(digest: Digest, values: Sequence[Any], depth: int) -> None:
    """All values, by C's loops where they are plain: ten million numbers take half a second."""
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        kinds = set(map(type, part))
        if type(None) in kinds:
            continue  # places to be filled as examples are read: a cache
        if all(map(_is_plain, kinds)):
            plain = list(map(_named, part)) if str in kinds else list(part)
            digest.update(marshal.dumps(plain, _MARSHAL_VERSION))
        elif kinds <= {list, tuple} and depth < _DEEPEST:
            digest.update(marshal.dumps(list(map(len, part)), _MARSHAL_VERSION))
            _add_list(digest, list(chain.from_iterable(part)), depth + 1)
        elif kinds <= {dict} and depth < _DEEPEST:
            digest.update(marshal.dumps(list(map(len, part)), _MARSHAL_VERSION))
            _add_list(digest, list(chain.from_iterable(part)), depth + 1)
            _add_list(digest, list(chain.from_iterable(map(dict.values, part))), depth + 1)
        elif kinds == {Tensor} and _are_small(part):
            digest.update(marshal.dumps([tuple(each.shape) for each in part], _MARSHAL_VERSION))
            add_tensor(digest, torch.cat([each.detach().reshape(-1) for each in part]))
        elif depth < _DEEPEST:
            for value in part:
                single = [value] if _is_plain(type(value)) else value
                _add(digest, single, depth + 1)


def _are_small(tensors: Sequence[Tensor]) -> bool:
    """Whether none of them is worth looking up among the files, and one type holds them all."""
    kinds = {(each.dtype, each.layout, each.device.type) for each in tensors}
    is_strided = len(kinds) == 1 and kinds.pop()[1:] == (torch.strided, "cpu")
    return is_strided and all(
        not each.is_nested and each.nbytes < WORTH_LOOKING_UP_BYTES for each in tensors
    )


def _is_plain(kind: type) -> bool:
    return kind in _PLAIN or issubclass(kind, np.generic)


def _named(value: Any) -> Any:
    """A text as it is; where it is a whole path, the file's name: data may lie elsewhere."""
    if isinstance(value, str) and value.startswith(os.sep):
        return value.rpartition(os.sep)[2]
    return value


def _add_frame(digest: Digest, frame: Any) -> None:
    """A frame, series or index of pandas."""
    from pandas.util import hash_pandas_object  # whoever has one has imported it

    digest.update(" ".join(map(str, getattr(frame, "columns", ()))).encode())
    digest.update(hash_pandas_object(frame).to_numpy().data)


def _is_numbers(value: object) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _is_frame(value: object) -> bool:
    is_pandas = type(value).__module__.partition(".")[0] == "pandas"
    return is_pandas and type(value).__name__ in ("DataFrame", "Series", "Index")
