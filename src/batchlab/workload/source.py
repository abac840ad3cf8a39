"""The user's own code: its text, what it imports and reads, and where an error of it lies."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from batchlab.workload.file_region import FileRegion, add_region

_PACKAGE = Path(__file__).resolve().parents[1]
_STANDARD_LIBRARY = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file of the user's code, and what it held.

    Attributes:
        path: of the file, whole.
        sha256: of its bytes, or what stands for them where they are many.
    """

    path: str
    sha256: str

    @classmethod
    def now(cls, path: str) -> SourceFile:
        """The file as it is at this moment.

        Raises:
            OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        add_region(digest, FileRegion(path=path, offset=0, n_bytes=Path(path).stat().st_size))
        return cls(path=path, sha256=digest.hexdigest())

    def is_unchanged(self) -> bool:
        """Whether the file holds the same still."""
        try:
            return SourceFile.now(self.path) == self
        except OSError:  # it is gone
            return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file and the user's own modules that it imports, as they were read.

    Attributes:
        text: names and texts, in a fixed order; the same wherever the files lie.
        imported: the files of the modules, by the name that each is imported as.
    """

    text: str
    imported: Mapping[str, SourceFile]


def source_of(file: Path) -> Source:
    """The text of `file` and of the user's modules that it imports.

    Imports are read and not run, so those inside functions count, and so do the imports of what is
    imported. Installed libraries, the standard library and batchlab itself do not: their versions
    are stored with every trial.

    Raises:
        OSError: a file cannot be read.
    """
    main = _Module(name="", file=file.resolve(), package="")
    found = {main.name: main}
    waiting = [main]
    while waiting:
        module = waiting.pop()
        for imported in _imported_by(module, folder=main.file.parent):
            if imported.name not in found and imported.file != main.file:
                found[imported.name] = imported
                waiting.append(imported)
    files = {name: SourceFile.now(str(module.file)) for name, module in found.items() if name}
    text = "\n".join(f"# {name}\n{found[name].text}" for name in sorted(found))
    return Source(text=text, imported=files)


def is_library(file: Path) -> bool:
    """Whether `file` belongs to batchlab, to the standard library or to an installed package."""
    resolved = file.resolve()
    folders = set(resolved.parents)
    return (
        _PACKAGE in folders
        or not _INSTALLED.isdisjoint(resolved.parts)
        or not _STANDARD_LIBRARY.isdisjoint(folders)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Module:
    """A file that is imported as `name`; relative imports in it begin at `package`."""

    name: str
    file: Path
    package: str

    @property
    def text(self) -> str:
        if self.file.suffix == ".py":
            return self.file.read_text(encoding="utf-8", errors="replace")
        return hashlib.sha256(self.file.read_bytes()).hexdigest()  # an extension module


def _imported_by(module: _Module, *, folder: Path) -> Iterator[_Module]:
    for name in sorted(_imported_names(module)):
        yield from _users_modules(name, folder)


def _imported_names(module: _Module) -> set[str]:
    """Every dotted name that could be a module: `from a import b` names `a` and `a.b`."""
    if module.file.suffix != ".py":
        return set()
    try:
        tree = ast.parse(module.file.read_bytes())
    except (SyntaxError, ValueError):  # whoever imports it is told
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.package.split(".")
            start = parents[: len(parents) - node.level + 1] if node.level else []
            base = ".".join(part for part in (*start, node.module) if part)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in names if name}


def _users_modules(name: str, folder: Path) -> Iterator[_Module]:
    """The modules of the user's along a dotted name: `a`, then `a.b`."""
    path: Sequence[str] = [str(folder), *sys.path]
    reached = ""
    for part in name.split("."):
        reached = f"{reached}.{part}" if reached else part
        spec = _found(reached, path)
        if spec is None:
            return
        if spec.origin is not None and spec.has_location:
            file = Path(spec.origin).resolve()
            if is_library(file):
                return
            is_package = spec.submodule_search_locations is not None
            package = reached if is_package else reached.rpartition(".")[0]
            yield _Module(name=reached, file=file, package=package)
        path = list(spec.submodule_search_locations or ())
        if not path:
            return


def _found(name: str, path: Sequence[str]) -> ModuleSpec | None:
    spec = PathFinder.find_spec(name, path)
    if spec is not None:
        return spec
    # Some editable installs are found by a finder of their own, which importing has asked already.
    return getattr(sys.modules.get(name), "__spec__", None)


_CODE = {".py", ".pyc"}
_CONFIGURATION = {".json", ".yaml", ".yml", ".toml", ".ini", ".cfg"}
_WEIGHTS = {".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".npz", ".npy"}
_COUNTED = _CODE | _CONFIGURATION | _WEIGHTS

# What calls the user's code while this listens.
_RUNNER = "batchlab.workload.loading"

_SAFETENSORS = re.compile(r"[^\s'\"`()\[\],;=]+\.safetensors\b")

# Whoever listens at the moment. Python's hook stays once it is there, so it is one for all.
_listening: list[OpenedFiles] = []
_is_heard = False


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedFile:
    """A file that was read.

    Attributes:
        name: its place in the folder, with slashes.
        path: the whole path.
        is_read_again: whether child processes read it too.
    """

    name: str
    path: Path
    is_read_again: bool

    @property
    def is_code(self) -> bool:
        """Whether it is a Python file."""
        return self.path.suffix == ".py"


class OpenedFiles:
    """Files of some kinds that are opened for reading while this listens."""

    def __init__(self, main: Path | None = None) -> None:
        """Nothing was opened yet; `main` is the file that is run, if one is."""
        self._main = None if main is None else str(main.resolve())
        self._is_read_again: dict[str, bool] = {}
        self._in_children = False

    @contextmanager
    def listening(self, *, in_children: bool = False) -> Iterator[None]:
        """Context: what is opened inside counts."""
        _hear_from_now_on()
        self._in_children = in_children
        _listening.append(self)
        try:
            yield
        finally:
            _listening.remove(self)

    def below(self, folder: Path) -> tuple[OpenedFile, ...]:
        """Those under a folder that are the user's own, by name; hidden folders are caches."""
        folder = folder.resolve()
        found: dict[str, OpenedFile] = {}
        for text, is_read_again in self._is_read_again.items():
            path = _text_of_code(Path(text))
            name = _place_in(folder, path)
            if name is None or not path.is_file() or is_library(path):
                continue
            again = is_read_again or (name in found and found[name].is_read_again)
            found[name] = OpenedFile(name=name, path=path, is_read_again=again)
        for file in list(found.values()):
            found |= _weights_beside(file, folder)
        return tuple(found[name] for name in sorted(found))

    def _opened(self, path: str) -> None:
        again = self._in_children or self._is_importing()
        self._is_read_again[path] = self._is_read_again.get(path, False) or again

    def _is_importing(self) -> bool:
        """Whether a module of another file is being run, which child processes import as well."""
        frame: FrameType | None = sys._getframe(3)  # that which opens
        while frame is not None and frame.f_globals.get("__name__") != _RUNNER:
            if frame.f_code.co_name == "<module>" and frame.f_code.co_filename != self._main:
                return True
            frame = frame.f_back
        return False


def named_weights(folder: Path, text: str) -> tuple[OpenedFile, ...]:
    """The `.safetensors` under a folder that a text names: their library opens them unheard."""
    folder = folder.resolve()
    found = []
    for named in sorted(set(_SAFETENSORS.findall(text))):
        path = folder / named
        name = _place_in(folder, path)
        if name is not None and path.is_file():
            found.append(OpenedFile(name=name, path=path, is_read_again=True))
    return tuple(found)


def _weights_beside(file: OpenedFile, folder: Path) -> dict[str, OpenedFile]:
    """Those in the folder of a saved model, whose configuration was read."""
    if file.path.suffix not in _CONFIGURATION or file.path.resolve().parent == folder:
        return {}
    beside = {}
    for path in file.path.parent.glob("*.safetensors"):
        name = _place_in(folder, path)
        if name is not None:
            beside[name] = OpenedFile(name=name, path=path, is_read_again=file.is_read_again)
    return beside


def _hear_from_now_on() -> None:
    global _is_heard
    if not _is_heard:
        _is_heard = True
        sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _listening:
        return
    path, _, flags = arguments
    if isinstance(path, int) or flags & (os.O_WRONLY | os.O_RDWR):
        return
    text = os.fsdecode(path)
    if os.path.splitext(text)[1].lower() in _COUNTED:
        for each in _listening:
            each._opened(os.path.abspath(text))


def _text_of_code(path: Path) -> Path:
    """The text that a cache of Python was made from; anything else is itself."""
    if path.suffix != ".pyc":
        return path
    try:
        return Path(importlib.util.source_from_cache(str(path)))
    except (ValueError, NotImplementedError):
        return path


def _place_in(folder: Path, path: Path) -> str | None:
    for each in (path, path.resolve()):
        if each.is_relative_to(folder):
            place = each.relative_to(folder)
            return None if any(part.startswith(".") for part in place.parts) else place.as_posix()
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Noted:
    """A module that was met.

    Attributes:
        spec: which tells it from itself after it was reloaded.
        file: what its file held when it was new here.
        may_stay: whether it was run while we listened, and nothing but its text counts.
    """

    spec: ModuleSpec | None
    file: SourceFile
    may_stay: bool


_noted: dict[str, _Noted] = {}
# Those that no text names: they were imported by names put together at run time.
_unnamed: set[str] = set()


def note(files: Mapping[str, SourceFile]) -> None:
    """Keep what the files of these modules hold, for those that are in this process and new."""
    for name, file in files.items():
        module = sys.modules.get(name)
        if module is not None and not _is_noted(name, module):
            _noted[name] = _Noted(spec=module.__spec__, file=file, may_stay=False)


def note_run(files: Mapping[str, SourceFile], *, unnamed: Collection[str], may_stay: bool) -> None:
    """Keep what was imported by a file that was just run."""
    _unnamed.update(unnamed)
    note(files)
    for name in files:
        module = sys.modules.get(name)
        if module is not None:
            file = _noted[name].file
            _noted[name] = _Noted(spec=module.__spec__, file=file, may_stay=may_stay)


def forget_stale(files: Mapping[str, SourceFile]) -> None:
    """Have these modules imported anew where one of them was edited, or is the caller's own.

    All of them: one that was not edited holds names of those that were.
    """
    files = {**files, **files_of_modules(_unnamed)}
    stale = [file for name, file in files.items() if not _may_stay(name, file)]
    if not stale:
        return
    for file in stale:
        # Python tells a cache from the text by its length and the whole second it was written in.
        with suppress(OSError, NotImplementedError):
            Path(importlib.util.cache_from_source(file.path)).unlink()
    importlib.invalidate_caches()
    for name, file in files.items():
        if file.path.endswith(".py"):  # an extension module is loaded once in a process
            sys.modules.pop(name, None)
            _unnamed.discard(name)


def edited_since_imported(files: Mapping[str, SourceFile]) -> list[str]:
    """The paths of those that are known to hold something else than when they were imported."""
    return [
        file.path
        for name, file in files.items()
        if (module := sys.modules.get(name)) is not None
        and _is_noted(name, module)
        and _noted[name].file != file
    ]


def files_of_modules(names: Iterable[str]) -> dict[str, SourceFile]:
    """The files of modules of this process as they are now, by name; those that can be read."""
    found = {}
    for name in names:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and Path(path).is_file():
            found[name] = SourceFile.now(str(Path(path).resolve()))
    return found


def modules_of_files(paths: Collection[str]) -> list[str]:
    """The names of the modules of this process that were made of these files."""
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str) and name != "__main__" and file in paths:
            found.append(name)
    return found


def _is_noted(name: str, module: ModuleType) -> bool:
    return name in _noted and _noted[name].spec is module.__spec__


def _may_stay(name: str, now: SourceFile) -> bool:
    module = sys.modules.get(name)
    if module is None:
        return True
    return _is_noted(name, module) and _noted[name].may_stay and _noted[name].file == now


def told(error: BaseException) -> str:
    """`ValueError: expected 3 columns (train.py, line 12)`: class, first line, user's own line.

    The place is the deepest call in code that is neither a library's nor batchlab's.
    """
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    place = _place(error)
    return f"{text} ({place})" if place else text


def _place(error: BaseException) -> str | None:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<frozen") or is_library(Path(frame.filename)):
            continue
        return f"{Path(frame.filename).name}, line {frame.lineno}"
    return None
