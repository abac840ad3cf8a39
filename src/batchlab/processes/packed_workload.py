"""PackedWorkload: a workload pickled for child processes, with its arrays in shared memory."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import tempfile
from collections.abc import Iterable
from dataclasses import fields, replace
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import FunctionType
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn

from batchlab.errors import EditedError, WorkloadError
from batchlab.processes.children import Line, run_in_child
from batchlab.workload.definition import Workload
from batchlab.workload.file_region import FileRegion, file_region
from batchlab.workload.given_data import redraw_validation
from batchlab.workload.identity import bytes_of, is_of_library, made_model
from batchlab.workload.loading import LoadedWorkload, with_model
from batchlab.workload.source import SourceFile, told

_Reduced = tuple[Any, tuple[Any, ...]]


def reduced_map(value: object) -> _Reduced | None:
    """Return the function and arguments that reopen a memory map; None if `value` is no map."""
    region = file_region(value)
    if region is None:
        return None
    assert isinstance(value, np.ndarray)
    return _opened, (region, value.dtype, value.shape, value.strides)


def _opened(
    region: FileRegion, dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]
) -> Any:
    # Copy on write: if the user's code writes to the array, the file does not change.
    content = np.memmap(region.path, np.uint8, "c", region.offset, (region.n_bytes,))
    return np.ndarray(shape, dtype, buffer=content, strides=strides)


def check_unedited(files: Iterable[SourceFile]) -> None:
    """Raise an error if one of `files` has changed since the workload's identity was computed.

    Raises:
        EditedError: a file was edited, moved or deleted; the message names the first such file.
    """
    for file in files:
        if not file.is_unchanged():
            raise EditedError(
                f"{Path(file.path).name} was edited since this study began; run the same command "
                f"again: it starts a new study with the edited {file.path}"
            )


_ALIGNMENT = 64  # Arrays begin at multiples of 64 bytes, where vector instructions are fastest.


class PackedWorkload:
    """A workload pickled once for any number of child processes, with arrays in shared memory.

    `multiprocessing` pickles this object when a child starts, and the child calls `unpack`.

    Attributes:
        files: the user's files that are imported or read when the workload is unpacked.
        read_in_place: the files of memory maps, which are not copied into shared memory.
    """

    def __init__(
        self,
        workload: Workload,
        *,
        files: tuple[SourceFile, ...] = (),
        draws_by_seed: bool = False,
    ) -> None:
        """Pack a workload, with copies of all CPU tensors and arrays in shared memory.

        A child imports or reads `files`, so `unpack` raises an error if a file was edited. If
        `draws_by_seed` is True, each seed draws a different validation set.

        Raises:
            WorkloadError: the workload contains an object that cannot be pickled (such as a lock).
        """
        buffer = io.BytesIO()
        packer = _Packer(buffer)
        self.files = files
        self._draws_by_seed = draws_by_seed
        try:
            named = {}
            for field in fields(workload):
                named[field.name] = getattr(workload, field.name)
            # Copy the metrics into a dict, because pickle refuses their read-only view.
            packer.dump(named | {"metrics": dict(workload.metrics)})
        except Exception as error:  # pickling a user's objects may raise any exception
            raise WorkloadError(
                f"workload {workload.name!r} cannot be handed to child processes: {told(error)}; "
                f"make open files, locks and connections inside the functions that use them, in a "
                f"notebook as in file.py:name"
            ) from error
        self._blob = buffer.getvalue()
        self.read_in_place = tuple(dict.fromkeys(packer.maps))
        contents = [buffer.raw() for buffer in packer.buffers]
        self._places: list[slice] = []
        self._n_bytes = 0
        for content in contents:
            begin = -(-self._n_bytes // _ALIGNMENT) * _ALIGNMENT
            self._n_bytes = begin + content.nbytes
            self._places.append(slice(begin, self._n_bytes))
        self._memory = _anonymous_memory(self._n_bytes)
        if self._n_bytes:
            memory = mmap.mmap(self._memory, self._n_bytes)
            for place, content in zip(self._places, contents, strict=True):
                memory[place] = content

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle.

        A child process gets a file descriptor of the arrays; any other reader gets their bytes.
        """
        memory: Any = np.empty(0, np.uint8)
        if get_spawning_popen() is not None:
            memory = DupFd(self._memory)
        elif self._n_bytes:
            numbers = mmap.mmap(self._memory, self._n_bytes, access=mmap.ACCESS_READ)
            memory = np.frombuffer(numbers, np.uint8)
        return vars(self) | {"_memory": memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state; copy arrays that were pickled as bytes into new shared memory."""
        memory = state["_memory"]
        if not isinstance(memory, np.ndarray):
            vars(self).update(state | {"_memory": memory.detach()})
            return
        vars(self).update(state | {"_memory": _anonymous_memory(memory.nbytes)})
        if memory.nbytes:
            mmap.mmap(self._memory, memory.nbytes)[:] = memory.data

    def __del__(self) -> None:
        """Close the file descriptor of the memory, which the kernel frees after its last use."""
        memory = vars(self).get("_memory")
        if isinstance(memory, int):
            os.close(memory)

    def unpack_for(self, seed: int) -> Workload:
        """Unpack the workload, and redraw the validation set with `seed` if `draws_by_seed`."""
        workload = self.unpack()
        if self._draws_by_seed:
            redraw_validation(workload, seed)
        return workload

    def unpack(self) -> Workload:
        """Return the workload, with arrays in shared memory; writes to arrays stay in this process.

        Raises:
            EditedError: one of `files` has changed since the workload was packed.
        """
        memory: Any = bytearray()
        if self._n_bytes:
            memory = mmap.mmap(self._memory, self._n_bytes, access=mmap.ACCESS_COPY)
        numbers = [memoryview(memory)[place] for place in self._places]
        workload = Workload(**pickle.loads(self._blob, buffers=numbers))
        check_unedited(self.files)  # check last: unpacking may have imported an edited file
        return workload


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]
    """A pickler that stores memory maps as paths, and other arrays and tensors in `buffers`."""

    def __init__(self, file: io.BytesIO) -> None:
        self.buffers: list[pickle.PickleBuffer] = []
        super().__init__(file, protocol=5, buffer_callback=self.buffers.append)
        self.maps: list[str] = []  # the paths of the memory maps' files

    def reducer_override(self, obj: Any) -> Any:
        inner = getattr(obj, "_torchdynamo_orig_callable", None)
        if (
            isinstance(obj, FunctionType)
            and inner is not None
            and not is_of_library(obj.__module__)
        ):
            return _as_written, (inner,)  # The wrapper of torch.compile can't be pickled.
        reduced = reduced_map(obj)
        if reduced is not None:
            self.maps.append(reduced[1][0].path)
            return reduced
        if _is_plain_tensor(obj):
            return _tensor, (pickle.PickleBuffer(bytes_of(obj)), obj.dtype, tuple(obj.shape))
        if _is_scattered(obj):  # NumPy would copy a noncontiguous array into the pickle.
            return np.asarray, (np.ascontiguousarray(obj),)
        return super().reducer_override(obj)


def _as_written(function: FunctionType) -> FunctionType:
    return function


def _is_plain_tensor(obj: Any) -> bool:
    if not isinstance(obj, Tensor) or isinstance(obj, nn.Parameter):
        return False
    return obj.device.type == "cpu" and obj.layout == torch.strided and not obj.requires_grad


def _tensor(numbers: memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if numbers.nbytes == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(numbers, dtype=dtype).reshape(shape)


def _is_scattered(obj: Any) -> bool:
    is_map = type(obj) is np.memmap
    return is_map or (type(obj) is np.ndarray and not (obj.flags.forc or obj.dtype.hasobject))


def _anonymous_memory(n_bytes: int) -> int:
    """Return a file descriptor of `n_bytes` of memory that is freed once no process uses it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("batchlab-workload")
    else:  # not on Linux: use an unnamed temporary file instead
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, n_bytes)
    return descriptor


def with_seen_model(loaded: LoadedWorkload, *, timeout_s: float) -> LoadedWorkload:
    """Return `loaded` with an identity that includes the model; a child process makes the model.

    If the child fails or exceeds `timeout_s`, return `loaded` unchanged; a later check reports why.

    Raises:
        EditedError: files of the workload were edited after loading.
    """
    try:
        packed = PackedWorkload(
            replace(loaded.workload, train=(), validation=None, test=None), files=loaded.files
        )
    except WorkloadError:
        return loaded
    ended = run_in_child(see_model, packed, loaded.folder, timeout_s=timeout_s)
    if ended.status is not None:
        return loaded
    return with_model(loaded, *ended.value)


def see_model(
    line: Line, packed: PackedWorkload, folder: Path | None
) -> tuple[str, tuple[SourceFile, ...]]:
    """Make the workload's model in a child process; return a text that identifies the model.

    Also return the files that the code of the model read.
    """
    return made_model(packed.unpack, folder or Path.cwd())
