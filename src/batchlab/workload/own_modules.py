"""OwnModules: the user's own modules in this process, and whether their files were edited since.

A file that is run again must find its modules as they are on the disk: its identity is made of
their present text, and child processes import that.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import psutil

from batchlab.workload.source import SourceFile

# What the file of a module held when the module was new here, by its name. A module that is
# reloaded has a new specification.
_noted: dict[str, tuple[ModuleSpec | None, SourceFile]] = {}


def note(files: Mapping[str, SourceFile]) -> None:
    """Keep what the files of these modules hold, for those that are in this process and new.

    Args:
        files: by the name that each is imported as.
    """
    for name, file in files.items():
        module = sys.modules.get(name)
        if module is not None and not _is_noted(name, module):
            _noted[name] = (module.__spec__, file)


def forget_edited(files: Mapping[str, SourceFile]) -> None:
    """Have these modules imported anew where the file of one of them was edited.

    All of them: one that was not edited holds names of those that were.

    Args:
        files: what their files hold now, by the name that each is imported as.
    """
    edited = [file for name, file in files.items() if _is_edited(name, file)]
    if not edited:
        return
    for file in edited:
        # Python tells a cache from the text by its length and the whole second it was written in.
        with suppress(OSError, NotImplementedError):
            Path(importlib.util.cache_from_source(file.path)).unlink()
    importlib.invalidate_caches()
    for name, file in files.items():
        if file.path.endswith(".py"):  # an extension module is loaded once in a process
            sys.modules.pop(name, None)


def edited_since_imported(files: Mapping[str, SourceFile]) -> list[str]:
    """The paths of those that are known to hold something else than when they were imported."""
    return [
        file.path
        for name, file in files.items()
        if (module := sys.modules.get(name)) is not None
        and _is_noted(name, module)
        and _noted[name][1] != file
    ]


def files_of_modules(names: Iterable[str]) -> dict[str, SourceFile]:
    """The files of modules of this process as they are now, by name; those that can be read."""
    found = {}
    for name in names:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path and Path(path).is_file():
            found[name] = SourceFile.now(str(Path(path).resolve()))
    return found


def _is_noted(name: str, module: ModuleType) -> bool:
    return name in _noted and _noted[name][0] is module.__spec__


def _is_edited(name: str, now: SourceFile) -> bool:
    """Whether a module may be another one than its file; one from another file is."""
    module = sys.modules.get(name)
    if module is None:
        return False
    if _is_noted(name, module):
        return _noted[name][1] != now
    if Path(getattr(module, "__file__", None) or "").resolve() != Path(now.path):
        return True
    # The caller imported it. What it was then is not known, if it was written to since.
    return bool(os.stat(now.path).st_mtime > psutil.Process().create_time())
