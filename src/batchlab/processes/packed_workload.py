"""PackedWorkload: a workload on its way to a child process, its tensors in shared memory.

The functions travel by cloudpickle, through a pipe and never through a file; the tensors are copied
once into anonymous shared memory, whatever the number of children. The caller's own tensors are not
moved. (PyTorch's own sharing would put them under /dev/shm, which many containers keep at 64 MB.)
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from multiprocessing.reduction import DupFd
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.processes.mapped_array import reduced_map
from batchlab.workload.definition import Workload
from batchlab.workload.error_place import told

_ALIGNMENT = 64  # bytes: what vector instructions like best


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a tensor lies in the shared memory."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def tensor(self, memory: mmap.mmap | None) -> Tensor:
        if memory is None or self.n_bytes == 0:
            return torch.empty(self.shape, dtype=self.dtype)
        count = math.prod(self.shape)
        flat = torch.frombuffer(memory, dtype=self.dtype, count=count, offset=self.offset)
        return flat.reshape(self.shape)


class PackedWorkload:
    """A workload packed once, for any number of children.

    It is pickled by `multiprocessing` when a child starts; `unpack` is called there.
    """

    def __init__(self, workload: Workload) -> None:
        """Pack `workload`; its CPU tensors are copied into shared memory.

        Raises:
            WorkloadError: it holds something that cannot leave this process (a lock, an open file).
        """
        buffer = io.BytesIO()
        packer = _Packer(buffer)
        try:
            packer.dump(_plain(workload))
        except Exception as error:  # whatever the pickling of the user's own objects raises
            raise WorkloadError(
                f"workload {workload.name!r} cannot be handed to child processes: {told(error)}; "
                f"make open files, locks and connections inside the functions that use them, in a "
                f"notebook as in file.py:name"
            ) from error
        self._blob = buffer.getvalue()
        self._places, self._n_bytes = _placed(packer.tensors)
        self._memory = _shared_memory(packer.tensors, self._places, self._n_bytes)

    def __getstate__(self) -> dict[str, Any]:
        """What a starting child gets: the memory as a file descriptor of its own."""
        return vars(self) | {"_memory": DupFd(self._memory)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the descriptor."""
        vars(self).update(state | {"_memory": state["_memory"].detach()})

    def __del__(self) -> None:
        """Give the memory back once nobody maps it any more."""
        memory = vars(self).get("_memory")
        if isinstance(memory, int):
            os.close(memory)

    def unpack(self) -> Workload:
        """The workload; tensors read the shared memory, what is written to them stays private."""
        memory = None
        if self._n_bytes:
            memory = mmap.mmap(self._memory, self._n_bytes, access=mmap.ACCESS_COPY)
        tensors = [place.tensor(memory) for place in self._places]
        return Workload(**_Unpacker(io.BytesIO(self._blob), tensors).load())


def _plain(workload: Workload) -> dict[str, Any]:
    """Its fields; the read-only view of its metrics as the dictionary that pickle can carry."""
    named = {field.name: getattr(workload, field.name) for field in fields(workload)}
    return named | {"metrics": dict(workload.metrics)}


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]
    """Leaves plain CPU tensors out, each once, to be put in shared memory; maps stay in files."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.tensors: list[Tensor] = []  # kept: an id is only good while its tensor lives
        self._position_of: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Tensor) or isinstance(obj, nn.Parameter):
            return None
        if obj.device.type != "cpu" or obj.layout != torch.strided or obj.requires_grad:
            return None
        if id(obj) not in self._position_of:
            self._position_of[id(obj)] = len(self.tensors)
            self.tensors.append(obj)
        return self._position_of[id(obj)]

    def reducer_override(self, obj: Any) -> Any:
        return reduced_map(obj) or super().reducer_override(obj)


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(file)
        self._tensors = tensors

    def persistent_load(self, pid: int) -> Tensor:
        return self._tensors[pid]


def _placed(tensors: Sequence[Tensor]) -> tuple[list[_Place], int]:
    places = []
    end = 0
    for tensor in tensors:
        offset = -(-end // _ALIGNMENT) * _ALIGNMENT
        place = _Place(dtype=tensor.dtype, shape=tuple(tensor.shape), offset=offset)
        places.append(place)
        end = offset + place.n_bytes
    return places, end


def _shared_memory(tensors: Sequence[Tensor], places: Sequence[_Place], n_bytes: int) -> int:
    """A descriptor of anonymous memory that holds the tensors; it is gone with its last user."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("batchlab-workload")
    else:  # no such call outside Linux: an unnamed temporary file serves as well
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, n_bytes)
    if n_bytes:
        memory = mmap.mmap(descriptor, n_bytes)
        for tensor, place in zip(tensors, places, strict=True):
            place.tensor(memory).copy_(tensor)
    return descriptor
