"""WorkloadIdentity: a hash that changes when a workload's source, settings, data or model do."""

from __future__ import annotations

import copyreg
import dis
import hashlib
import marshal
import os
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
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
from batchlab.workload.data import Collated, Columns, leaves
from batchlab.workload.definition import SPLITS, Data, Workload
from batchlab.workload.file_region import WORTH_LOOKING_UP_BYTES, add_region, file_region, files_of
from batchlab.workload.source import (
    OpenedFile,
    OpenedFiles,
    SourceFile,
    is_library,
    source_of,
    told,
)
from batchlab.workload.stream import Reading, is_stream

_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeModel:
    """What was seen of a model.

    Attributes:
        parts: names, shapes and types of its parameters and buffers. Their values are no part of
            it: the same seed draws others on another machine.
        opened: the files that were read while it was made.
    """

    parts: str
    opened: tuple[OpenedFile, ...]


def made_model(workload: Workload, folder: Path) -> MadeModel:
    """Call `workload.model` once; one that cannot be made has no parts, which the check tells."""
    heard = OpenedFiles()
    parts = ""
    with untouched_randomness(), heard.listening(in_children=True):
        seed_everything(_SEED)
        try:
            parts = _parts(workload.model())
        except Exception:
            parts = ""
    return MadeModel(parts=parts, opened=heard.below(folder))


def _parts(model: object) -> str:
    if not isinstance(model, nn.Module):
        return ""
    named = (*model.named_parameters(), *model.named_buffers())
    return "\n".join(
        f"{name} {part.dtype} {'lazy' if is_lazy(part) else tuple(part.shape)}"
        for name, part in named
    )


# What is shorter is an option rather than data; 64 examples that are read show it anyway.
_LONG = 33
_DEEPEST = 4
_AT_ONCE = 65_536  # bounds the memory that a hash takes
_PLAIN: set[type] = {int, float, complex, bool, str, bytes}
# Without references between equal objects, which are another thing in another process.
_MARSHAL_VERSION = 2


def add_tensor(digest: _Digest, tensor: Tensor) -> None:
    """Update a hash with type, shape and all numbers of a tensor."""
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.numel():
        digest.update(flat.view(torch.uint8).numpy().data)


def add_array(digest: _Digest, array: np.ndarray[Any, Any]) -> None:
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


def add_held(digest: _Digest, dataset: object, seen: dict[int, Any]) -> None:
    """Update a hash with what a Dataset holds, and Datasets inside it."""
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


def _add(digest: _Digest, value: Any, depth: int) -> None:
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


def _add_list(digest: _Digest, values: Sequence[Any], depth: int) -> None:
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


def _add_frame(digest: _Digest, frame: Any) -> None:
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


# Reading all examples of a Dataset may take long: beside what it holds, so many count, evenly
# spaced, and the first so many of a stream.
_EXAMPLES_OF_A_DATASET = 64
_DATA_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What a workload is known by.

    Attributes:
        digest: the first 16 hexadecimal digits of a SHA-256 over source, settings and data.
        modules: the user's own modules whose functions and classes it has, by name.
    """

    digest: str
    modules: frozenset[str]


def workload_identity(
    workload: Workload,
    *,
    source: str | None,
    settings: tuple[tuple[str, Setting], ...],
    opened: Iterable[OpenedFile] = (),
) -> Identity:
    """What a workload is known by.

    Raises:
        WorkloadError: an example of a Dataset cannot be read.
    """
    digest = _Digest()
    if source is None:
        _ValueHash(digest).add(workload)
    else:
        digest.update(source.encode())
    digest.update(b"\0settings\0" + repr(settings).encode())
    for split in SPLITS:
        digest.update(f"\0{split}\0".encode())
        _add_data(digest, getattr(workload, split), f"workload {workload.name!r}: {split}")
    for file in opened:
        if str(file.path) not in digest.data_files:
            held = SourceFile.now(str(file.path))
            digest.update(f"\0file\0{file.name} {held.sha256}".encode())
    return Identity(digest=digest.hexdigest()[:16], modules=frozenset(digest.modules))


class _Digest:
    """A SHA-256, and what was met on the way to it.

    Attributes:
        modules: the user's own modules, by name.
        held: what Datasets hold in memory, by its id.
        data_files: paths of files that hold data.
    """

    def __init__(self, met: _Digest | None = None) -> None:
        """Begin; `met` is another one that shares what is met."""
        self._hash = hashlib.sha256()
        self.update, self.hexdigest = self._hash.update, self._hash.hexdigest
        self.modules: set[str] = set() if met is None else met.modules
        self.held: dict[int, Any] = {}
        self.data_files: set[str] = set()


def _add_data(digest: _Digest, data: Data | None, what: str) -> None:
    if data is None or isinstance(data, str):
        digest.update(repr(data).encode())
    elif isinstance(data, tuple):
        for tensor in data:
            add_tensor(digest, tensor)
    elif isinstance(data, Columns):
        for place, part in leaves(data.filled(data.parts)):
            digest.update(f"{place} ".encode())
            _add_part(digest, part)
    elif isinstance(data, Collated):
        _ValueHash(digest).add(data.collate)
        _add_data(digest, data.dataset, what)
    else:
        for region in files_of(data):
            add_region(digest, region)
            digest.data_files.add(os.path.abspath(region.path))
        add_held(digest, data, digest.held)
        n = len(data)
        digest.update(f"{type(data).__qualname__} {n}".encode())
        if is_stream(data):
            reading = Reading(data, epoch=0, seed=_DATA_SEED, what=what)
            _ValueHash(digest).add(reading.take(min(n, _EXAMPLES_OF_A_DATASET)))
            return
        for position in range(0, n, max(1, n // _EXAMPLES_OF_A_DATASET)):
            _ValueHash(digest).add(_example(data, position, what))


def _example(data: Data, position: int, what: str) -> Any:
    # A Dataset that draws random crops must show the same ones each time.
    with untouched_randomness():
        seed_everything(_DATA_SEED)
        try:
            return data[position]
        except Exception as error:
            raise WorkloadError(
                f"{what}: reading example {position} raised {told(error)}"
            ) from error


def _add_part(digest: _Digest, part: Any) -> None:
    if isinstance(part, Tensor):
        add_tensor(digest, part)
    elif part.dtype == object:
        _ValueHash(digest).add(part.tolist())
    else:
        region = file_region(part)
        if region is not None:
            digest.data_files.add(os.path.abspath(region.path))
        add_array(digest, part)


_ATOMS = (str, int, float, complex, bool, bytes, type(None), type(...), np.generic)
_C_FUNCTIONS = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


class _ValueHash:
    """Hashes values by what they do and hold, never by where they are.

    A function counts by its code, constants, defaults, what it encloses and the globals it names;
    a class by its bases and attributes; another object by what pickling would keep of it. What
    belongs to a library counts by its name.
    """

    def __init__(self, digest: _Digest) -> None:
        self._digest = digest
        # Each value seen, with its number; it is held, so that its id is not given to another.
        self._seen: dict[int, tuple[int, Any]] = {}

    def add(self, value: Any) -> None:
        if isinstance(value, _ATOMS):
            self._word(f"{type(value).__name__} {value!r}")
        elif isinstance(value, Tensor):
            add_tensor(self._digest, value)
        elif isinstance(value, (tuple, CodeType)):
            # Which equal constants are one object is the compiler's affair: never "seen before".
            self._add_new(value)
        elif id(value) in self._seen:
            self._word(f"again {self._seen[id(value)][0]}")
        else:
            self._seen[id(value)] = (len(self._seen), value)
            self._add_new(value)

    def _add_new(self, value: Any) -> None:
        self._word(type(value).__name__)
        match value:
            case Workload():
                for name in Workload.__dataclass_fields__:
                    # How long a training is planned to be changes none of its steps.
                    if name not in (*SPLITS, "epochs"):
                        self._word(name)
                        self.add(getattr(value, name))
            case FunctionType():
                self._add_function(value)
            case CodeType():
                self._add_code(value)
            case type():
                self._add_class(value)
            case ModuleType():
                self._add_module(value)
            case MethodType():
                self._add_all((value.__func__, value.__self__))
            case property():
                self._add_all((value.fget, value.fset, value.fdel))
            case staticmethod() | classmethod():
                self.add(value.__func__)
            case partial():
                self._add_all((value.func, value.args, value.keywords))
            case Mapping():
                for key, part in value.items():
                    self._add_all((key, part))
            case tuple() | list():
                self._word(str(len(value)))
                self._add_all(value)
            case set() | frozenset():
                self._add_unordered(value)
            case np.ndarray() if value.dtype != object:
                add_array(self._digest, value)
            case _ if isinstance(value, _C_FUNCTIONS):
                self._word(value.__qualname__)
                self.add(getattr(value, "__self__", None))
            case _ if hasattr(value, "__array_interface__"):  # an image, for one
                add_array(self._digest, np.asarray(value))
            case _:
                self._add_object(value)

    def _add_function(self, function: FunctionType) -> None:
        if _is_of_library(function.__module__):
            self._word(f"{function.__module__}.{function.__qualname__}")
            return
        self._meet(function.__module__)
        self._add_code(function.__code__)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # not filled yet
                self._word("empty")
        for name in sorted(set(_global_names(function.__code__))):
            if name in function.__globals__:
                self._word(name)
                self.add(function.__globals__[name])

    def _add_code(self, code: CodeType) -> None:
        self._digest.update(code.co_code)
        self._word(" ".join((*code.co_names, *code.co_varnames, *code.co_freevars)))
        self._add_all(code.co_consts)

    def _add_class(self, cls: type) -> None:
        self._word(f"{cls.__module__}.{cls.__qualname__}")
        if _is_of_library(cls.__module__):
            return
        self._meet(cls.__module__)
        self._add_all(cls.__bases__)
        for name, part in sorted(vars(cls).items()):
            is_bookkeeping = name.startswith("__") and not isinstance(
                part, (FunctionType, staticmethod, classmethod, property)
            )
            if not is_bookkeeping and name != "_abc_impl":
                self._word(name)
                self.add(part)

    def _add_module(self, module: ModuleType) -> None:
        self._word(module.__name__)
        file = getattr(module, "__file__", None)
        if file and module.__name__ != "__main__" and not is_library(Path(file)):
            self._meet(module.__name__)
            try:
                self._word(source_of(Path(file)).text)
            except OSError as error:
                raise WorkloadError(
                    f"module {module.__name__!r}: {error.filename} cannot be read "
                    f"({error.strerror}); the workload uses it and is known by its text: put the "
                    f"file back, or import the module from where it is now"
                ) from error

    def _add_object(self, value: Any) -> None:
        self.add(type(value))
        try:
            reduced = _reduced(value)
        except Exception:  # a lock, an open file: what cannot be pickled has nothing to tell
            return
        if isinstance(reduced, str):
            self._word(reduced)
            return
        made_by, arguments, *held = reduced
        self._add_all((made_by, arguments))
        for part in held:
            self.add(list(part) if isinstance(part, Iterator) else part)

    def _add_unordered(self, values: Iterable[Any]) -> None:
        digests = []
        for value in values:
            inner = _ValueHash(_Digest(self._digest))
            inner._seen = dict(self._seen)
            inner.add(value)
            digests.append(inner._digest.hexdigest())
        self._word(" ".join(sorted(digests)))

    def _add_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self.add(value)

    def _meet(self, module: str | None) -> None:
        # Those that travel by value are not imported by child processes.
        by_value = cloudpickle.list_registry_pickle_by_value()
        if module is not None and module != "__main__" and module not in by_value:
            self._digest.modules.add(module)

    def _word(self, text: str) -> None:
        self._digest.update(text.encode(errors="surrogatepass") + b"\0")


def _reduced(value: object) -> Any:
    """What pickling would keep: a name, or the maker, its arguments and what is set afterwards."""
    registered = copyreg.dispatch_table.get(type(value))
    return registered(value) if registered is not None else value.__reduce_ex__(4)


def _global_names(code: CodeType) -> Iterator[str]:
    """The globals that a function names, also inside the functions it makes."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _is_of_library(module: str | None) -> bool:
    """Whether a module is not the user's own: batchlab's, an installed or a built-in one's."""
    if module is None or module == "__main__":
        return False
    found = sys.modules.get(module)
    if found is None:
        return False
    file = getattr(found, "__file__", None)
    if file is None:
        return getattr(found.__spec__, "origin", None) in ("built-in", "frozen")
    return is_library(Path(file))
