"""The identity of a workload: a hash of its source, settings, data, live values and model."""

from __future__ import annotations

import copy
import copyreg
import dis
import hashlib
import marshal
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
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
from batchlab.workload.data import Collated, Columns, Reading, is_stream, leaves
from batchlab.workload.definition import SPLITS, Data, Workload
from batchlab.workload.file_region import FileRegion, add_region, file_region
from batchlab.workload.given_data import draws_by_seed
from batchlab.workload.source import (
    SourceFile,
    files_below,
    heard_opening,
    is_library,
    source_of,
    told,
)

_SEED = 0
# Reading all examples of a Dataset may take long. In addition to what it holds, this many examples
# count: evenly spaced ones, or the first ones of a stream.
_EXAMPLES_OF_A_DATASET = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeModel:
    """The parts of a model, as a child process sees them."""

    # Names, shapes and types of its parameters and buffers, and hashes of the files that were read
    # while it was made. Values do not count: the same seed draws others on another machine.
    text: str
    files: tuple[SourceFile, ...]  # all files that were read there


def made_model(workload: Callable[[], Workload], folder: Path) -> MadeModel:
    """Call `workload().model` once; one that cannot be made has no parts, and the check says so."""
    with heard_opening() as on_the_way:
        made = workload()
    text = ""
    with untouched_randomness(), heard_opening() as opened:
        seed_everything(_SEED)
        with suppress(Exception):
            text = _parts(made.model())
    for place, path in files_below(folder, opened).items():
        text += f"\0file\0{place} {SourceFile.now(path).sha256}"
    read = files_below(folder, opened | on_the_way).values()
    return MadeModel(text=text, files=tuple(map(SourceFile.now, read)))


def _parts(model: object) -> str:
    if not isinstance(model, nn.Module):
        return ""
    named = (*model.named_parameters(), *model.named_buffers())
    return "\n".join(
        f"{name} {part.dtype} {'lazy' if is_lazy(part) else tuple(part.shape)}"
        for name, part in named
    )


def workload_identity(
    workload: Workload,
    *,
    source: str | None,
    settings: tuple[tuple[str, Setting], ...],
    beside: Mapping[str, Path],
) -> tuple[str, set[str]]:
    """Return the first 16 hexadecimal digits of a SHA-256, and the user's modules that were met.

    A workload without a source text is identified by what its functions do. `beside` holds other
    files that it read, by their place in its folder.
    """
    digest = _Digest()
    if source is None:
        digest.add(workload)
    else:
        digest.update(source.encode())
    digest.update(b"\0settings\0" + repr(settings).encode())
    for split in SPLITS:
        digest.update(f"\0{split}\0".encode())
        digest.add_data(getattr(workload, split), f"workload {workload.name!r}: {split}")
    if draws_by_seed(workload):
        digest.update(b"\0drawn by seed\0")
    for place, path in beside.items():
        digest.update(f"\0file\0{place} {SourceFile.now(path).sha256}".encode())
    return digest.hexdigest()[:16], digest.modules


def value_digest(value: Any) -> str:
    """Return a SHA-256 of any value, by what it does and holds."""
    digest = _Digest()
    digest.add(value)
    return digest.hexdigest()


_ATOMS = (str, int, float, complex, bool, bytes, type(None), type(...), np.generic)


class _Digest:
    """A SHA-256 of values by what they do and hold, never by where they are.

    A function counts by its code, constants, defaults, what it encloses and the globals it names;
    a class by its bases and attributes; another object by what pickling would keep of it. What
    belongs to a library counts by its name.

    Attributes:
        modules: the user's own modules whose functions and classes were met, by name.
    """

    def __init__(self, within: _Digest | None = None) -> None:
        """Begin; values that `within` has met count as seen here."""
        self._hash = hashlib.sha256()
        self.update, self.hexdigest = self._hash.update, self._hash.hexdigest
        self.modules: set[str] = set() if within is None else within.modules
        # Each value seen, with its number; it is held, so that its id is not given to another.
        self._seen: dict[int, tuple[int, Any]] = {} if within is None else dict(within._seen)
        self._held: dict[object, Any] = {}  # files by their region, values by their id

    def add_data(self, data: Data | None, what: str) -> None:
        """Add one split, as loading left it."""
        if data is None or isinstance(data, str):
            self.update(repr(data).encode())
        elif isinstance(data, tuple):
            for tensor in data:
                add_tensor(self, tensor)
        elif isinstance(data, Columns):
            for place, part in leaves(data.filled(data.parts)):
                self.update(f"{place} ".encode())
                self.add(part.tolist() if part.dtype == object else part)
        elif isinstance(data, Collated):
            self.add(data.collate)
            self.add_data(data.dataset, what)
        else:
            self._add_held(data)
            n = len(data)
            self.update(f"{type(data).__qualname__} {n}".encode())
            for example in _some_examples(data, n, what):
                self._seen.clear()  # a new example may have the id of an earlier one
                self.add(example)

    def add(self, value: Any) -> None:
        """Add any value."""
        if isinstance(value, _ATOMS):
            self._word(f"{type(value).__name__} {value!r}")
        elif isinstance(value, Tensor):
            add_tensor(self, value)
        elif isinstance(value, (tuple, CodeType)):
            # The compiler decides which equal constants are one object, so these are always new.
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
                    # The planned length, and who chose the batch size, change no step.
                    if name not in (*SPLITS, "epochs", "is_usual"):
                        self._word(name)
                        self.add(getattr(value, name))
            case FunctionType():
                self._add_function(value)
            case CodeType():
                self.update(value.co_code)
                self._word(" ".join((*value.co_names, *value.co_varnames, *value.co_freevars)))
                self._add_all(value.co_consts)
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
                add_array(self, value)
            case _:
                self._add_object(value)

    def _add_function(self, function: FunctionType) -> None:
        function = getattr(function, "_torchdynamo_orig_callable", function)
        if is_of_library(function.__module__):
            self._word(f"{function.__module__}.{function.__qualname__}")
            return
        self._meet(function.__module__)
        self._add_all((function.__code__, function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # not filled yet
                self._word("empty")
        for name in sorted(set(_global_names(function.__code__))):
            if name in function.__globals__:
                self._word(name)
                self.add(function.__globals__[name])

    def _add_class(self, cls: type) -> None:
        self._word(f"{cls.__module__}.{cls.__qualname__}")
        if is_of_library(cls.__module__):
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
        registered = copyreg.dispatch_table.get(type(value))
        try:
            reduced = registered(value) if registered is not None else value.__reduce_ex__(4)
        except Exception:  # what cannot be pickled (a lock, an open file) does not count
            return
        if isinstance(reduced, str):
            self._word(reduced)
        else:  # what makes it, with which arguments, and what is set afterwards
            self._add_all(list(part) if isinstance(part, Iterator) else part for part in reduced)

    def _add_unordered(self, values: Iterable[Any]) -> None:
        digests = []
        for value in values:
            inner = _Digest(within=self)
            inner.add(value)
            digests.append(inner.hexdigest())
        self._word(" ".join(sorted(digests)))

    def _add_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self.add(value)

    def _meet(self, module: str | None) -> None:
        # Child processes do not import the modules that travel by value.
        by_value = cloudpickle.list_registry_pickle_by_value()
        if module is not None and module != "__main__" and module not in by_value:
            self.modules.add(module)

    def _word(self, text: str) -> None:
        self.update(text.encode(errors="surrogatepass") + b"\0")

    def _add_held(self, dataset: object) -> None:
        """Add what a Dataset and Datasets inside it hold; what two splits share counts once."""
        n_files = 0
        for value in _held(dataset, depth=0):
            region = _named_file(value) if isinstance(value, (str, Path)) else file_region(value)
            if isinstance(value, (str, Path)) and (region is None or n_files == _MOST_FILES):
                continue
            n_files += region is not None
            key = id(value) if region is None else region
            if key in self._held:
                self.update(b"again")
                continue
            self._held[key] = value  # kept, so that its id is not given to another
            if region is None:
                _add_numbers(self, value, depth=0)
            else:
                add_region(self, region)


def _some_examples(data: Data, n: int, what: str) -> Iterator[Any]:
    if is_stream(data):
        reading = Reading(data, epoch=0, seed=_SEED, what=what)
        yield from reading.take(min(n, _EXAMPLES_OF_A_DATASET))
        return
    data = _copied(data)
    for position in range(0, n, max(1, n // _EXAMPLES_OF_A_DATASET)):
        # A Dataset that draws random crops must show the same ones each time.
        with untouched_randomness():
            seed_everything(_SEED)
            try:
                example = data[position]
            except Exception as error:
                raise WorkloadError(
                    f"{what}: reading example {position} raised {told(error)}"
                ) from error
        yield example


def _copied(data: Data) -> Data:
    """Copy a data set and those inside it: a file that it opens to read must not be handed on."""
    try:
        copied = copy.copy(data)
        for name, part in vars(copied).items():
            if isinstance(part, Dataset):
                vars(copied)[name] = _copied(part)
            elif isinstance(part, list) and all(isinstance(each, Dataset) for each in part):
                vars(copied)[name] = [_copied(each) for each in part]
    except Exception:  # a class may refuse to be copied
        return data
    return copied


def _global_names(code: CodeType) -> Iterator[str]:
    """Yield the globals that a function names, also inside the functions it makes."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def is_of_library(module: str | None) -> bool:
    """Return whether a module is not the user's own but batchlab's, installed or built in."""
    found = None if module == "__main__" else sys.modules.get(module or "")
    if found is None:
        return False
    file = getattr(found, "__file__", None)
    if file is None:
        return getattr(found.__spec__, "origin", None) in ("built-in", "frozen")
    return is_library(Path(file))


def add_tensor(digest: _Digest, tensor: Tensor) -> None:
    """Update a hash with type, shape and all numbers of a tensor."""
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.numel():
        digest.update(flat.view(torch.uint8).numpy().data)


def add_array(digest: _Digest, array: np.ndarray[Any, Any]) -> None:
    """Update a hash with type, shape and all numbers of an array; a map counts by its file."""
    digest.update(f"{array.dtype} {array.shape}".encode())
    region = file_region(array)
    if region is not None:
        add_region(digest, region)
    elif array.size:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


# A shorter list is an option rather than data, and the 64 examples that are read show it anyway.
_LONG = 33
# A Dataset that keeps the names of many files is identified well enough by its examples.
_MOST_FILES = 32
_LONGEST_NAME = 1024
_DEEPEST = 4
_AT_ONCE = 65_536  # bounds the memory that a hash takes
_PLAIN: set[type] = {int, float, complex, bool, str, bytes}
# This version writes no references between equal objects, which differ between processes.
_MARSHAL_VERSION = 2


def _held(value: object, depth: int) -> Iterator[Any]:
    """Yield what may be data in a Dataset: numbers, frames, long lists, names of files."""
    if isinstance(value, (Tensor, np.ndarray, str, Path)) or _is_frame(value):
        yield value
        return
    parts: Iterable[object] = ()
    if depth == 0 or isinstance(value, Dataset):
        parts = getattr(value, "__dict__", {}).values()
    elif isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        # A mapping by numbers is left out: it is a cache of what was read.
        many = len(value) >= _LONG
        parts = [part for part in value.values() if not (many and isinstance(part, (str, Path)))]
    elif isinstance(value, (list, tuple)):
        if len(value) >= _LONG:
            yield value
            return
        parts = value
    if depth < _DEEPEST:
        for part in parts:
            yield from _held(part, depth + 1)


def _named_file(name: str | Path) -> FileRegion | None:
    if isinstance(name, str) and (len(name) > _LONGEST_NAME or "\0" in name or not name):
        return None
    try:
        return FileRegion.whole(name) if Path(name).is_file() else None
    except OSError:
        return None


def _add_numbers(digest: _Digest, value: Any, depth: int) -> None:
    try:
        if isinstance(value, Tensor):
            add_tensor(digest, value)
        elif isinstance(value, np.ndarray) and value.dtype.hasobject:
            _add_list(digest, value.ravel().tolist(), depth)
        elif isinstance(value, np.ndarray):
            add_array(digest, value)
        elif isinstance(value, (list, tuple)):
            _add_list(digest, value, depth)
        elif _is_frame(value):
            from pandas.util import hash_pandas_object  # a frame is there, so pandas is

            digest.update(" ".join(map(str, getattr(value, "columns", ()))).encode())
            digest.update(hash_pandas_object(value).to_numpy().data)
    except (TypeError, ValueError, RuntimeError):  # a kind of tensor without numbers to read
        digest.update(type(value).__qualname__.encode())


def _add_list(digest: _Digest, values: Sequence[Any], depth: int) -> None:
    """Add all values, plain ones by C's loops: ten million numbers take half a second."""
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        kinds = set(map(type, part))
        if type(None) in kinds:
            continue  # a cache, which is filled as examples are read
        if all(map(_is_plain, kinds)):
            plain = list(map(_named, part)) if str in kinds else list(part)
            digest.update(marshal.dumps(plain, _MARSHAL_VERSION))
        elif kinds <= {list, tuple, dict} and depth < _DEEPEST:
            digest.update(marshal.dumps(list(map(len, part)), _MARSHAL_VERSION))
            _add_list(digest, list(chain.from_iterable(part)), depth + 1)
            records = [each.values() for each in part if isinstance(each, dict)]
            _add_list(digest, list(chain.from_iterable(records)), depth + 1)
        elif depth < _DEEPEST:
            for value in part:
                _add_numbers(digest, [value] if _is_plain(type(value)) else value, depth + 1)


def _is_plain(kind: type) -> bool:
    return kind in _PLAIN or issubclass(kind, np.generic)


def _named(value: Any) -> Any:
    """Reduce a whole path to the file's name, because data may lie elsewhere."""
    if isinstance(value, str) and value.startswith(os.sep):
        return value.rpartition(os.sep)[2]
    return value


def _is_frame(value: object) -> bool:
    is_pandas = type(value).__module__.partition(".")[0] == "pandas"
    return is_pandas and type(value).__name__ in ("DataFrame", "Series", "Index")
