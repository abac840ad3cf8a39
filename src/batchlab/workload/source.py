"""The files of the user's own code: their hashes, what they import, and where they fail."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from batchlab.workload.file_region import FileRegion, add_region

_PACKAGE = Path(__file__).resolve().parents[1]
_STANDARD_LIBRARY = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file of the user's code, with a hash of its content."""

    path: str  # The full path of the file.
    sha256: str  # The hash of all bytes or, above 64 MiB, of sampled blocks, file size and time.

    @classmethod
    def now(cls, path: Path | str) -> SourceFile:
        """Return the file with the hash of its present content."""
        digest = hashlib.sha256()
        n_bytes = Path(path).stat().st_size
        add_region(digest, FileRegion(path=str(path), offset=0, n_bytes=n_bytes))
        return cls(path=str(path), sha256=digest.hexdigest())

    def is_unchanged(self) -> bool:
        """Return whether the file's present content still has the hash `sha256`."""
        try:
            return SourceFile.now(self.path) == self
        except OSError:  # the file no longer exists
            return False


def imported_by(file: Path) -> dict[str, SourceFile]:
    """Return the user's modules, by name, that `file` imports directly or indirectly.

    Imports are found in the source without running it, so imports in functions are included.
    Libraries and batchlab are left out, because every trial stores their versions.

    Raises:
        OSError: a file cannot be read.
    """
    main = file.resolve()
    files = {"": main}
    waiting = [""]
    while waiting:
        importer = waiting.pop()
        for name in sorted(_imported_names(importer, files[importer])):
            parts = name.split(".")
            for n in range(1, len(parts) + 1):
                module = ".".join(parts[:n])
                path = _users_file(module, main.parent)
                if module not in files and path not in (None, main):
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
    """Return the dotted names that a file imports, such as `a.b` for `from a import b`."""
    if file.suffix != ".py":
        return set()
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # ignore: running the file will report the error
        return set()
    package = importer if file.name == "__init__.py" else importer.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            with suppress(ImportError):  # skip a relative import above the top package
                prefix = importlib.util.resolve_name(prefix, package)
                names |= {f"{prefix}.{alias.name}" for alias in node.names}
    return names


def _users_file(module: str, folder: Path) -> Path | None:
    """Return the file of one of the user's modules; None for a library or an unknown module."""
    name = module.replace(".", "/")
    for place in (str(folder), *sys.path):
        for path in (Path(place, name, "__init__.py"), Path(place, f"{name}.py")):
            if path.is_file():
                return None if is_library(path) else path.resolve()
    # Some editable installs are in no folder of `sys.path`; their imported modules name the file.
    path = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    return path.resolve() if path.is_file() and not is_library(path) else None


_CONFIGURATION = {".json", ".yaml", ".yml", ".toml", ".ini", ".cfg"}
_WEIGHTS = {".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".npz", ".npy"}
_COUNTED = {".py", ".pyc"} | _CONFIGURATION | _WEIGHTS  # kinds of files whose paths are recorded
_SAFETENSORS = re.compile(r"[^\s'\"`()\[\],;=]+\.safetensors\b")

# The sets to which the audit hook adds the paths of opened files; the keys are the `id`s of the
# sets. There is only one hook for all of them, because Python can't remove a hook.
_listening: dict[int, set[str]] = {}


@contextmanager
def heard_opening() -> Iterator[set[str]]:
    """Collect the paths of code, configuration and weight files that the `with` block reads."""
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
    """Return, by relative path, the user's opened files below `folder` that are not hidden.

    The audit hook that records opened files misses `.safetensors` files. Such a file is included if
    its path is in the text `named_in` (source code and settings), or if a configuration file in the
    same subfolder was opened.
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
    """Return the source file of a `.pyc` file; return any other path unchanged."""
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
    """Make Python import a file's modules again, because the user may have edited files.

    Modules that the file imports, and all modules in its folder, are removed from `sys.modules`,
    because the file may import modules of its folder by names computed at run time.

    Raises:
        OSError: a file cannot be read.
    """
    named = imported_by(main)
    near = f"{main.parent}{os.sep}"
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__dict__", {}).get("__file__") or ""
        if name == "__main__" or not path.endswith(".py"):  # extension modules can't load twice
            continue
        if name in named or (path.startswith(near) and not is_library(Path(path))):
            del sys.modules[name]
    importlib.invalidate_caches()


def files_of_modules(names: Iterable[str]) -> dict[str, SourceFile]:
    """Return the files of imported modules with their present hashes, by module name."""
    files = {}
    for name in names:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and Path(path).is_file():
            files[name] = SourceFile.now(Path(path).resolve())
    return files


def told(error: BaseException) -> str:
    """Describe an error, such as `ValueError: expected 3 columns (train.py, line 12)`.

    The file and the line are the place of the innermost call outside of libraries and batchlab.
    """
    text = type(error).__name__
    lines = str(error).strip().splitlines()
    if lines:
        text += f": {lines[0]}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not (frame.filename.startswith("<frozen") or is_library(Path(frame.filename))):
            return f"{text} ({Path(frame.filename).name}, line {frame.lineno})"
    return text
