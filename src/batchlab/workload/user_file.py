"""UserFile: a file of the user's own that is run, and the workload that it is asked for."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.workload.definition import Workload
from batchlab.workload.error_place import told
from batchlab.workload.source import OpenedFiles, Source, forget_stale, source_of


def found_in_file(
    file: Path, name: str, opened: OpenedFiles
) -> tuple[Workload | Callable[..., Workload], Source]:
    """Run a file; what it holds under a name, and the source of that.

    Raises:
        WorkloadError: the file is missing, cannot be run, or holds no such workload.
    """
    if file.is_dir():
        raise WorkloadError(f"{file} is a folder; name a workload as {file}/file.py:name")
    if not file.is_file():
        raise WorkloadError(f"{file}: there is no such file; name a workload as path/file.py:name")
    module = _imported(file, opened)
    if not hasattr(module, name):
        candidates = sorted(_candidates(module))
        possible = ", ".join(candidates) or "nothing that could be one"
        raise WorkloadError(
            f"{file} has no {name!r}; {did_you_mean(name, candidates)}it holds {possible}; a "
            f"workload is a batchlab.Workload or a function that returns one"
        )
    found = getattr(module, name)
    if not isinstance(found, Workload) and not callable(found):
        raise WorkloadError(
            f"{file}: {name!r} is {kind_of(found)}; expected a batchlab.Workload or a "
            f"function that returns one"
        )
    # Two workloads of one file share its source, and may share their data: the name tells them.
    source = _source_of(file)
    return found, replace(source, text=f"{name}\n{source.text}")


def _source_of(file: Path) -> Source:
    """What was run: read after it, for running it may say where the modules of its imports lie."""
    try:
        return source_of(file)
    except OSError as error:
        raise WorkloadError(
            f"{file}: it ran, but then {error.filename} could not be read ({error.strerror}); "
            f"leave the files of a workload in place while it is loaded"
        ) from error


def _imported(file: Path, opened: OpenedFiles) -> ModuleType:
    path = file.resolve()
    # Its neighbours must be importable, as they are when the file is run.
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module_name = path.stem if path.stem.isidentifier() else "batchlab_user_workload"
    known = sys.modules.get(module_name)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() != path:
        module_name = f"batchlab_user_{module_name}"
    with suppress(OSError):  # what cannot be read cannot be imported either, and Python says so
        forget_stale(source_of(path).imported)
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise WorkloadError(f"{file}: not a Python file; a workload's file ends in .py")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(module_name)
    sys.modules[module_name] = module
    try:
        with opened.listening():
            _run(module, file)
    except BaseException:
        if before is None:
            del sys.modules[module_name]
        else:
            sys.modules[module_name] = before
        raise
    # Children get its functions by value: by name they would run the file again, edited by then
    # perhaps, and not find it at all where its name is none of a module (my-train.py).
    cloudpickle.register_pickle_by_value(module)
    return module


def _run(module: ModuleType, file: Path) -> None:
    assert module.__spec__ is not None
    assert module.__spec__.loader is not None
    try:
        module.__spec__.loader.exec_module(module)
    except SyntaxError as error:
        # It may lie in a module that the file imports.
        name = Path(error.filename).name if error.filename else file.name
        where = f"{file}" if name == file.name else f"{file}: {name}"
        line = f", line {error.lineno}" if error.lineno else ""
        raise WorkloadError(
            f"{where}{line}: {error.msg}; the file cannot be run until that is mended"
        ) from error
    except BatchlabError as error:
        raise WorkloadError(f"{file}: {error}") from error
    except (Exception, SystemExit) as error:
        raise WorkloadError(
            f"{file}: running it raised {told(error)}; python {file} shows the whole report"
        ) from error


def _candidates(module: Any) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, Workload)
            or (inspect.isfunction(value) and value.__module__ == module.__name__)
        )
    ]


def did_you_mean(given: str, possible: Iterable[str]) -> str:
    """A question with the nearest of the possible names; empty if none is near."""
    close = difflib.get_close_matches(given, list(possible), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def kind_of(value: object) -> str:
    """What it is, in words: nothing is what a function without a `return` gives."""
    return "nothing" if value is None else f"an object of type {type(value).__name__}"
