"""OwnModules: the user's own modules in this process, and whether they are what their files say.

A file that is run again must find its modules as they are on the disk: its identity is made of
their present text, and child processes import that. It must also find all of them run again where
they read files or import by names put together at run time, or nobody would hear of that.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from batchlab.workload.source import SourceFile


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
    """Keep what the files of these modules hold, for those that are in this process and new.

    Args:
        files: by the name that each is imported as.
    """
    for name, file in files.items():
        module = sys.modules.get(name)
        if module is not None and not _is_noted(name, module):
            _noted[name] = _Noted(spec=module.__spec__, file=file, may_stay=False)


def note_run(files: Mapping[str, SourceFile], *, unnamed: Collection[str], may_stay: bool) -> None:
    """Keep what was imported by a file that was just run.

    Args:
        files: the modules that its text names.
        unnamed: modules beside them that it imported.
        may_stay: whether nothing but the text of `files` counts.
    """
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

    Args:
        files: what their files hold now, by the name that each is imported as.
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
