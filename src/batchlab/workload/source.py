"""The user's own code: its text, what it imports and reads, and where its errors lie."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from batchlab.workload.file_region import FileRegion, add_region

_PACKAGE = Path(__file__).resolve().parents[1]
_STANDARD_LIBRARY = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file of the user's code, with a hash of its content."""

    path: str  # the whole path of the file
    sha256: str  # the hash of its bytes, or of a sample of them if there are many

    @classmethod
    def now(cls, path: Path | str) -> SourceFile:
        """Return the file as it is at this moment."""
        digest = hashlib.sha256()
        add_region(digest, FileRegion.whole(path))
        return cls(path=str(path), sha256=digest.hexdigest())

    def is_unchanged(self) -> bool:
        """Return whether the content of the file is unchanged."""
        try:
            return SourceFile.now(self.path) == self
        except OSError:  # the file is gone
            return False


def imported_by(file: Path) -> dict[str, SourceFile]:
    """Return the user's modules, by name, that `file` imports directly or indirectly.

    Imports are found in the text, not run, so imports inside functions are included. Libraries,
    also Python's own, and batchlab are left out, because every trial stores their versions.

    Raises:
        OSError: a file cannot be read.
    """
    main = file.resolve()
    files = {"": main}
    waiting = [""]
    while waiting:
        importer = waiting.pop()
        for name in sorted(_imported_names(importer, files[importer])):
            for module, path in _users_modules(name, main.parent):
                if module not in files and path != main:
                    files[module] = path
                    waiting.append(module)
    del files[""]
    return {module: SourceFile.now(path) for module, path in files.items()}


def is_library(file: Path) -> bool:
    """Return whether `file` belongs to batchlab, the standard library or an installed package."""
    resolved = file.resolve()
    folders = set(resolved.parents)
    return (
        _PACKAGE in folders
        or not _INSTALLED.isdisjoint(resolved.parts)
        or not _STANDARD_LIBRARY.isdisjoint(folders)
    )


def _imported_names(importer: str, file: Path) -> set[str]:
    """Return each dotted name that could be a module: `from a import b` names `a.b`."""
    if file.suffix != ".py":
        return set()
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # importing it raises the error
        return set()
    package = importer if file.name == "__init__.py" else importer.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            with suppress(ImportError):  # it goes beyond the outermost package
                prefix = importlib.util.resolve_name(prefix, package)
                names |= {f"{prefix}.{alias.name}" for alias in node.names}
    return names


def _users_modules(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the user's modules along a dotted name, with their files: `a`, then `a.b`."""
    path: Sequence[str] = [str(folder), *sys.path]
    packages = name.split(".")
    for n in range(1, len(packages) + 1):
        module = ".".join(packages[:n])
        # Some editable installs have a finder of their own, which importing has asked already.
        loaded_spec = getattr(sys.modules.get(module), "__spec__", None)
        spec = PathFinder.find_spec(module, path) or loaded_spec
        if spec is None:
            return
        if spec.origin is not None and spec.has_location:
            file = Path(spec.origin).resolve()
            if is_library(file):
                return
            yield module, file
        path = list(spec.submodule_search_locations or ())
        if not path:
            return


_CONFIGURATION = {".json", ".yaml", ".yml", ".toml", ".ini", ".cfg"}
_WEIGHTS = {".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".npz", ".npy"}
_COUNTED = {".py", ".pyc"} | _CONFIGURATION | _WEIGHTS
_SAFETENSORS = re.compile(r"[^\s'\"`()\[\],;=]+\.safetensors\b")

# The sets that Python's hook fills, by their id. A hook can't be removed, so one serves all.
_listening: dict[int, set[str]] = {}


@contextmanager
def heard_opening() -> Iterator[set[str]]:
    """Collect the paths of code, configurations and weights that the block opens for reading."""
    _add_hook()
    opened: set[str] = set()
    _listening[id(opened)] = opened
    try:
        yield opened
    finally:
        del _listening[id(opened)]


@cache
def _add_hook() -> None:
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _listening:
        return
    path, _, flags = arguments
    if isinstance(path, int) or flags & (os.O_WRONLY | os.O_RDWR):
        return
    text = os.fsdecode(path)
    if os.path.splitext(text)[1].lower() in _COUNTED:
        for opened in list(_listening.values()):
            opened.add(os.path.abspath(text))


def files_below(
    folder: Path, opened: Iterable[str], *, named_in: str = ""
) -> dict[str, SourceFile]:
    """Return the user's own files under a folder, by path in it; hidden files are left out.

    Python's hook misses opened `.safetensors` files, so they are included if a text names them, or
    if they are in the folder of a saved model whose configuration was read.
    """
    folder = folder.resolve()
    paths = [folder / name for name in _SAFETENSORS.findall(named_in)]
    for text in opened:
        path = _text_of_code(Path(text))
        paths.append(path)
        is_configuration = path.suffix in _CONFIGURATION and path.resolve().parent != folder
        if is_configuration and _place_in(folder, path) is not None:
            paths += path.parent.glob("*.safetensors")
    files = {}
    for path in paths:
        place = _place_in(folder, path)
        if place is not None and path.is_file() and not is_library(path):
            files[place] = SourceFile.now(path)
    return dict(sorted(files.items()))


def _text_of_code(path: Path) -> Path:
    """Return the source file that a cache of Python was made from; any other path as it is."""
    if path.suffix != ".pyc":
        return path
    try:
        return Path(importlib.util.source_from_cache(str(path)))
    except (ValueError, NotImplementedError):
        return path


def _place_in(folder: Path, path: Path) -> str | None:
    for candidate in (path, path.resolve()):
        if candidate.is_relative_to(folder):
            place = candidate.relative_to(folder).as_posix()
            return None if "/." in f"/{place}" else place
    return None


def forget_imported(main: Path) -> None:
    """Have the modules of a file imported again, because they or files they read may be edited.

    These are the modules that its text names and all below its folder, because it may import those
    by names put together at run time.

    Raises:
        OSError: a file cannot be read.
    """
    named = imported_by(main)
    near = f"{main.parent}{os.sep}"
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__dict__", {}).get("__file__") or ""
        if name == "__main__" or not path.endswith(".py"):  # others are loaded once in a process
            continue
        if name in named or (path.startswith(near) and not is_library(Path(path))):
            del sys.modules[name]
    importlib.invalidate_caches()


def files_of_modules(names: Iterable[str]) -> dict[str, SourceFile]:
    """Return the present state of the readable files of imported modules, by module name."""
    files = {}
    for name in names:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and Path(path).is_file():
            files[name] = SourceFile.now(Path(path).resolve())
    return files


def told(error: BaseException) -> str:
    """Describe an error, such as `ValueError: expected 3 columns (train.py, line 12)`.

    The place is the deepest call in code that is neither a library's nor batchlab's.
    """
    text = type(error).__name__
    lines = str(error).strip().splitlines()
    if lines:
        text += f": {lines[0]}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not (frame.filename.startswith("<frozen") or is_library(Path(frame.filename))):
            return f"{text} ({Path(frame.filename).name}, line {frame.lineno})"
    return text
