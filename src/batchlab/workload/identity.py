"""The identity of a workload: a hash of the source, settings, data, objects and model."""

from __future__ import annotations

import copy
import hashlib
import marshal
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import Dataset

from batchlab.errors import WorkloadError
from batchlab.random_state import seed_everything, untouched_randomness
from batchlab.records.trial import Setting
from batchlab.workload.data import Collated, Columns, StreamPass, is_stream, leaves
from batchlab.workload.definition import SPLITS, Data, Workload
from batchlab.workload.file_region import add_region, file_region
from batchlab.workload.given_data import draws_by_seed
from batchlab.workload.source import (
    SourceFile,
    files_below,
    files_of_modules,
    heard_opening,
    imported_by,
    is_library,
    told,
)

_SEED = 0
# Reading all examples of a Dataset may take long, so the hash includes the Dataset's attributes and
# only this many examples: evenly spaced examples, or the first examples of a stream.
_EXAMPLES_OF_A_DATASET = 64


def made_model(
    workload: Callable[[], Workload], folder: Path
) -> tuple[str, tuple[SourceFile, ...]]:
    """Describe the model that `workload()` makes; ignore errors, which a later check reports.

    Returns:
        Names, shapes and types of the parameters and buffers, with hashes of the files read while
        making the model; and all files read while making the workload and the model. Initial
        weights are left out, because they differ between machines.
    """
    with heard_opening() as on_the_way:
        definition = workload()
    text = ""
    with untouched_randomness(), heard_opening() as opened:
        seed_everything(_SEED)
        with suppress(Exception):
            text = _shapes(definition.model())
    for place, file in files_below(folder, opened).items():
        text += f"\0file\0{place} {file.sha256}"
    return text, tuple(files_below(folder, opened | on_the_way).values())


def _shapes(model: object) -> str:
    if not isinstance(model, nn.Module):
        return ""
    lines = []
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        shape = "lazy" if is_lazy(tensor) else tuple(tensor.shape)
        lines.append(f"{name} {tensor.dtype} {shape}")
    return "\n".join(lines)


def workload_identity(
    workload: Workload,
    *,
    settings: tuple[tuple[str, Setting], ...],
    code: Mapping[str, SourceFile],
    read: Mapping[str, SourceFile],
) -> tuple[str, dict[str, SourceFile]]:
    """Return a workload's id (16 hexadecimal digits of a SHA-256) and the hashed modules.

    `code` contains the workload's source files by module name; if it is empty, the fields of the
    workload are hashed with the code of their functions. `read` contains other files that the
    workload read, by their paths relative to its folder. The returned modules, by name, are `code`
    and the user's modules from which objects in the workload are imported.
    """
    digest = _Digest()
    if not code:
        # Leave out the data, which are hashed below, and fields that change no training step.
        fields = {name: getattr(workload, name) for name in Workload.__dataclass_fields__}
        for name in (*SPLITS, "epochs", "is_usual"):
            del fields[name]
        digest.add(list(fields.items()))
    for split in SPLITS:
        digest.add_data(getattr(workload, split), f"workload {workload.name!r}: {split}")
    modules = dict(code)
    of_values = files_of_modules(digest.modules)
    for file in of_values.values():
        modules |= imported_by(Path(file.path))
    modules |= of_values
    files = [(name, file.sha256) for name, file in sorted({**read, **modules}.items())]
    digest.add([settings, files, draws_by_seed(workload)])
    return digest.hexdigest()[:16], modules


def value_digest(value: Any, modules: set[str] | None = None) -> str:
    """Return a SHA-256 of any value; add the names of user modules in the value to `modules`."""
    digest = _Digest(modules)
    digest.add(value)
    return digest.hexdigest()


_ATOMS = (str, int, float, complex, bool, bytes, type(None), tuple, CodeType, np.generic)
# Version 2 of marshal writes no references to repeated objects, which would vary by process.
_MARSHAL_VERSION = 2


class _Digest(cloudpickle.Pickler):  # type: ignore[misc]
    """A SHA-256 of the pickled content of values, without addresses in memory or paths on disk.

    A function or class that is pickled by value is hashed with its code and all objects used in the
    code. An imported function or class is hashed by name, and its module is added to `modules`.

    Attributes:
        modules: names of the user's modules from which functions and classes are imported.
    """

    def __init__(self, modules: set[str] | None = None) -> None:
        self._hash = hashlib.sha256()
        self.update, self.hexdigest = self._hash.update, self._hash.hexdigest
        self.modules: set[str] = modules if modules is not None else set()
        # id -> (number, value) of each hashed value; Python cannot reuse the id of a stored value.
        self._seen: dict[int, tuple[int, Any]] = {}
        super().__init__(SimpleNamespace(write=self.update))
        # Without `fast`, pickle writes a reference in place of an object that it has seen before.
        # Then two equal texts would hash differently from one text that is used twice.
        self.fast = True

    def add(self, value: Any) -> None:
        """Add any value to the hash; for a value that cannot be pickled, add random bytes."""
        try:
            self.dump(value)
        except Exception:  # classes of the user may raise anything when pickled
            self.update(os.urandom(16))

    def add_data(self, data: Data | None, what: str) -> None:
        """Add the data of one split, as converted at loading, to the hash."""
        if isinstance(data, Columns):
            self.add(list(leaves(data.filled(data.parts))))
        elif isinstance(data, Collated):
            self.add(data.collate)
            self.add_data(data.dataset, what)
        elif data is None or isinstance(data, str | tuple):
            self.add(data)
        else:
            for value in (*_contents(data), (type(data).__qualname__, len(data))):
                self.add(value)
            for example in _some_examples(data, len(data), what):
                self.add(example)

    def persistent_id(self, obj: Any) -> str | None:
        """Return a text to hash in place of a list, set, array or repeated value, else None."""
        # Always hash the value of a constant: whether equal constants are one object can vary.
        if isinstance(obj, _ATOMS):
            return None
        if type(obj) is list and all(map(_is_plain, set(map(type, obj)))):
            # For a list of plain values, marshal is fast: 0.5 s for ten million numbers.
            return hashlib.sha256(marshal.dumps(obj, _MARSHAL_VERSION)).hexdigest()
        if isinstance(obj, frozenset | set):
            return " ".join(sorted(value_digest(member, self.modules) for member in obj))
        if id(obj) in self._seen:
            return f"again {self._seen[id(obj)][0]}"
        self._seen[id(obj)] = len(self._seen), obj
        if isinstance(obj, Tensor):
            return _sha256(add_tensor, obj)
        if isinstance(obj, np.ndarray) and not obj.dtype.hasobject:
            return _sha256(add_array, obj)
        return None

    def reducer_override(self, obj: Any) -> Any:
        """Return how to pickle a value without file names, line numbers and random ids."""
        if isinstance(obj, FunctionType):
            obj = getattr(obj, "_torchdynamo_orig_callable", obj)
        if isinstance(obj, CodeType):
            return _made_of(
                obj.co_code, obj.co_names, obj.co_varnames, obj.co_freevars, obj.co_consts
            )
        if isinstance(obj, ModuleType) and getattr(obj, "__file__", None):
            self._meet(obj.__name__)
            return _made_of(obj.__name__)
        reduced = super().reducer_override(obj)
        if isinstance(obj, FunctionType | type):
            if reduced is NotImplemented:
                self._meet(obj.__module__)
            elif isinstance(obj, FunctionType):
                attributes, slots = reduced[2]
                defaults = (obj.__defaults__, obj.__kwdefaults__)
                used = (obj.__closure__, slots["__globals__"], attributes)
                return _made_of(obj.__code__, *defaults, *used)
            elif len(reduced) > 2:
                return _made_of(obj.__qualname__, obj.__bases__, _members_of(obj))
            return reduced
        try:
            reduce = self.dispatch_table.get(type(obj))
            return obj.__reduce_ex__(4) if reduce is None else reduce(obj)
        except Exception:  # hash only the type of a lock or an open file
            return _made_of(type(obj).__qualname__)

    def _meet(self, module: str | None) -> None:
        if module is not None and module != "__main__" and not is_of_library(module):
            self.modules.add(module)


def _made_of(*parts: Any) -> Any:
    return list, (parts,)


def _sha256(add: Callable[[Any, Any], None], value: Any) -> str:
    digest = hashlib.sha256()
    try:
        add(digest, value)
    except (TypeError, ValueError, RuntimeError):  # unreadable: hash only the type
        digest.update(type(value).__qualname__.encode())
    return digest.hexdigest()


def _members_of(cls: type) -> list[tuple[str, Any]]:
    functions = (FunctionType, staticmethod, classmethod, property)
    members = []
    for name, member in sorted(vars(cls).items()):
        is_own = not name.startswith("__") or isinstance(member, functions)
        if is_own and name != "_abc_impl":
            members.append((name, member))
    return members


def _some_examples(data: Data, n: int, what: str) -> Iterator[Any]:
    if is_stream(data):
        reading = StreamPass(data, epoch=0, seed=_SEED, what=what)
        yield from reading.take(min(n, _EXAMPLES_OF_A_DATASET))
        return
    data = _copied(data)
    for position in range(0, n, max(1, n // _EXAMPLES_OF_A_DATASET)):
        # Fix the seed, so that a Dataset with random crops returns the same crops each time.
        with untouched_randomness(_SEED):
            try:
                example = data[position]
            except Exception as error:
                raise WorkloadError(
                    f"{what}: reading example {position} raised {told(error)}"
                ) from error
        yield example


def _copied(data: Data) -> Data:
    """Copy a data set and its nested data sets, so that only the copy keeps files open."""
    try:
        copied = copy.copy(data)
        for name, value in vars(copied).items():
            if isinstance(value, Dataset):
                vars(copied)[name] = _copied(value)
            elif isinstance(value, list) and all(isinstance(item, Dataset) for item in value):
                vars(copied)[name] = [_copied(item) for item in value]
    except Exception:  # if a class refuses to be copied, read the original
        return data
    return copied


def is_of_library(module: str | None) -> bool:
    """Return whether a module belongs to batchlab, Python or an installed package."""
    loaded = sys.modules.get(module or "")
    if loaded is None or module == "__main__":
        return False
    file = getattr(loaded, "__file__", None)
    if file is None:
        return getattr(loaded.__spec__, "origin", None) in ("built-in", "frozen")
    return is_library(Path(file))


def add_tensor(digest: _Digest, tensor: Tensor) -> None:
    """Add the type, shape and all numbers of a tensor to a hash."""
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    digest.update(bytes_of(tensor))


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the bytes of a dense tensor, row by row; contiguous CPU memory is not copied."""
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def add_array(digest: _Digest, array: np.ndarray[Any, Any]) -> None:
    """Add an array's type, shape and numbers to a hash; of large memory maps, only samples."""
    digest.update(f"{array.dtype} {array.shape}".encode())
    region = file_region(array)
    if region is not None:
        add_region(digest, region)
    elif array.size:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


_PLAIN: set[type] = {int, float, complex, bool, str, bytes}


def _is_plain(kind: type) -> bool:
    return kind in _PLAIN or issubclass(kind, np.number)


# Lists with fewer items than this are not hashed, because most short lists contain options, whose
# effect shows in the hashed examples.
_LONG = 33
_DEEPEST = 4  # more deeply nested values are not searched


def _contents(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the tensors, arrays and long lists in a Dataset and in its nested Datasets.

    The whole Dataset is not hashed, because its caches, random generators and folders may vary.
    """
    inside: Iterable[Any] = ()
    if isinstance(value, Tensor | np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        if len(value) < _LONG:
            inside = value
        # Skip a list with None: it is probably a cache, which the Dataset fills as it is read.
        elif all(item is not None for item in value):
            yield value
    elif depth == 0 or isinstance(value, Dataset):
        inside = getattr(value, "__dict__", {}).values()
    if depth < _DEEPEST:
        for inner in inside:
            yield from _contents(inner, depth + 1)
