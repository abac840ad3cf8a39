"""How a workload is named (`mnist-mlp`, `train.py:workload`), found in its file, and loaded."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle
import torch

from batchlab.errors import BatchlabError, EditedError, UsageError, WorkloadError
from batchlab.records.trial import Setting
from batchlab.version import __version__
from batchlab.workload.builtin import workload_names
from batchlab.workload.data import with_data_as_read
from batchlab.workload.definition import Workload
from batchlab.workload.identity import MadeModel, workload_identity
from batchlab.workload.settings import as_type_of
from batchlab.workload.source import (
    OpenedFile,
    OpenedFiles,
    Source,
    SourceFile,
    edited_since_imported,
    files_of_modules,
    forget_stale,
    modules_of_files,
    named_weights,
    note,
    note_run,
    source_of,
    told,
)
from batchlab.workload.split import with_validation
from batchlab.workload.stream import order_notes


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


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedWorkload:
    """A workload that is ready to train, and who it is.

    Attributes:
        workload: with its validation set split off where it asked for that.
        workload_id: the identity of its source, settings and data, and of its model once a child
            process has made that (`with_model`).
        loaded_id: the identity that it was loaded with, and is when it is loaded again.
        reference: how it was named.
        settings: all settings and the values used, sorted by name.
        notes: what a reader must know of how its data are read.
        files: of the user's that child processes import or read.
        folder: where files that it reads count; None: the current one.
    """

    workload: Workload
    workload_id: str
    loaded_id: str
    reference: str
    settings: tuple[tuple[str, Setting], ...]
    notes: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()
    folder: Path | None = None


def loaded_workload(
    workload: Workload | str, settings: Mapping[str, str | Setting]
) -> LoadedWorkload:
    """A workload by its name, or one that is given as it is (`load_workload`, `live_workload`).

    Raises:
        UsageError: an unknown workload or setting, or a value of the wrong type.
        WorkloadError: the file is missing, cannot be run, or holds no such workload.
    """
    if not isinstance(settings, Mapping):
        raise UsageError(
            f'settings {settings!r}: expected names with their values, such as {{"width": 64}}'
        )
    if isinstance(workload, str):
        return load_workload(workload, settings)
    if not isinstance(workload, Workload):
        raise UsageError(_no_workload(workload))
    return live_workload(workload, settings)


def _no_workload(given: object) -> str:
    if isinstance(given, FunctionType):
        return (
            f"workload is the function {given.__name__}; give what it returns: {given.__name__}()"
        )
    if isinstance(given, torch.nn.Module):
        return (
            f"workload is a model ({type(given).__name__}); give a batchlab.Workload, which has "
            f"its data, loss and optimizer too"
        )
    return (
        f"workload is {given!r}; expected a batchlab.Workload, a built-in name or path/file.py:name"
    )


def load_workload(reference: str, settings: Mapping[str, str | Setting]) -> LoadedWorkload:
    """Load a built-in workload or a user's `path/file.py:name`.

    Raises:
        UsageError: an unknown workload or setting, or a value of the wrong type.
        WorkloadError: the file is missing, cannot be run, or holds no such workload.
    """
    opened = OpenedFiles(_file_of(reference))
    made, source = _found(reference, opened)
    used: dict[str, Setting] = {}
    if isinstance(made, Workload):
        workload, rest = made, dict(settings)
    else:
        with opened.listening():
            workload, used, rest = _called(made, reference, settings)
    workload, of_optimizer = _with_optimizer_settings(workload, reference, rest, known=used)
    return _loaded(workload, reference, source, used | of_optimizer, opened)


def live_workload(workload: Workload, settings: Mapping[str, Setting]) -> LoadedWorkload:
    """A workload that exists in this process only: a notebook's, a closure.

    Raises:
        UsageError: a setting that its optimizer does not take.
    """
    workload, used = _with_optimizer_settings(workload, workload.name, dict(settings), known={})
    return _loaded(workload, workload.name, None, used, OpenedFiles())


def describe_workloads() -> list[dict[str, Any]]:
    """The built-in workloads: name, description (its function's first line), settings, defaults."""
    described = []
    for name in workload_names():
        function, _ = _found(name, OpenedFiles())
        assert not isinstance(function, Workload)
        first_line = (inspect.getdoc(function) or "").partition("\n")[0]
        described.append({"name": name, "description": first_line, "settings": _keywords(function)})
    return described


def _loaded(
    workload: Workload,
    reference: str,
    source: Source | None,
    used: Mapping[str, Setting],
    opened: OpenedFiles,
) -> LoadedWorkload:
    settings = tuple(sorted(used.items()))
    workload, notes = with_data_as_read(workload)
    ready = with_validation(workload)  # first: it refuses data that cannot be hashed either
    beside = _read_beside(reference, source, opened, settings)
    identity = workload_identity(
        workload,
        source=None if source is None else source.text,
        settings=settings,
        opened=beside,
    )
    return LoadedWorkload(
        workload=ready,
        workload_id=identity.digest,
        loaded_id=identity.digest,
        folder=None if source is None else (_file_of(reference) or Path(__file__)).parent,
        reference=reference,
        settings=settings,
        notes=(*notes, *order_notes(workload)),
        files=_files(identity.modules, source, beside),
    )


def with_model(loaded: LoadedWorkload, model: MadeModel) -> LoadedWorkload:
    """The same workload, known by its model and what that reads too."""
    files = [SourceFile.now(str(file.path)) for file in model.opened]
    digest = hashlib.sha256(f"{loaded.loaded_id}\0{model.parts}".encode())
    for file, held in zip(model.opened, files, strict=True):
        digest.update(f"\0file\0{file.name} {held.sha256}".encode())
    return replace(
        loaded,
        workload_id=digest.hexdigest()[:16],
        files=tuple(sorted({*loaded.files, *files}, key=lambda file: file.path)),
    )


def _file_of(reference: str) -> Path | None:
    path, colon, _ = reference.rpartition(":")
    return Path(path) if colon else None


def _read_beside(
    reference: str,
    source: Source | None,
    opened: OpenedFiles,
    settings: tuple[tuple[str, Setting], ...],
) -> tuple[OpenedFile, ...]:
    """The files that were read and that the text does not name.

    They lie under the folder of the workload's file.
    """
    main = _file_of(reference)
    if source is None or main is None:  # live, or built in
        return ()
    named = {str(main.resolve()), *(file.path for file in source.imported.values())}
    beside = tuple(
        file for file in opened.below(main.parent) if str(file.path.resolve()) not in named
    )
    beside += named_weights(main.parent, f"{source.text} {settings}")
    unnamed = modules_of_files({str(file.path) for file in beside if file.is_code})
    note_run(source.imported, unnamed=unnamed, may_stay=not beside)
    return beside


def _files(
    modules: Iterable[str], source: Source | None, beside: Iterable[OpenedFile]
) -> tuple[SourceFile, ...]:
    """The user's files that child processes import or read.

    Raises:
        EditedError: a live workload has code of a file that was edited since.
    """
    found = {} if source is None else dict(source.imported)
    reached = files_of_modules(modules)
    for file in reached.values():
        found |= source_of(Path(file.path)).imported
    found |= reached
    edited = edited_since_imported(found)
    if edited:
        raise EditedError(
            f"{edited[0]} was edited since it was imported here, and trainings would import it as "
            f"it is now; restart Python (in a notebook: the kernel) and give the workload again"
        )
    note(found)
    read = (SourceFile.now(str(each.path)) for each in beside if each.is_code or each.is_read_again)
    return tuple(sorted({*found.values(), *read}, key=lambda file: file.path))


def _found(
    reference: str, opened: OpenedFiles
) -> tuple[Workload | Callable[..., Workload], Source]:
    """What a reference names, and the source that it stands for."""
    path, colon, name = reference.rpartition(":")
    if colon or reference.endswith(".py"):
        if not (colon and name):
            file = path or name
            raise UsageError(
                f"{reference!r} names a file and no workload in it; give {file}:NAME, where NAME "
                "is a Workload or a function that returns one"
            )
        return found_in_file(Path(path), name, opened)
    if reference not in workload_names():
        raise UsageError(
            f"unknown workload {reference!r}; {did_you_mean(reference, workload_names())}built in "
            f"are {', '.join(workload_names())}; your own is named path/file.py:name"
        )
    module = importlib.import_module(f"batchlab.workload.builtin.{reference.replace('-', '_')}")
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    # What it is built from elsewhere in the package changes with the version.
    return module.workload, Source(text=f"batchlab {__version__}\n{source}", imported={})


def _called(
    function: Callable[..., Workload], reference: str, settings: Mapping[str, str | Setting]
) -> tuple[Workload, dict[str, Setting], dict[str, str | Setting]]:
    _check_needs_nothing(function, reference)
    defaults = _keywords(function)
    given = {
        name: as_type_of(defaults[name], value, name)
        for name, value in settings.items()
        if name in defaults
    }
    rest = {name: value for name, value in settings.items() if name not in defaults}
    try:
        workload = function(**given)
    except BatchlabError:
        raise
    except Exception as error:
        raise WorkloadError(f"{reference}: making the workload raised {told(error)}") from error
    if not isinstance(workload, Workload):
        raise WorkloadError(
            f"{reference} returned {kind_of(workload)}; expected a batchlab.Workload"
        )
    return workload, defaults | given, rest


def _check_needs_nothing(function: Callable[..., Any], reference: str) -> None:
    """Refuse a function with a parameter that nobody gives.

    Raises:
        WorkloadError: naming the parameter.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C, without a signature
        return
    for parameter in parameters:
        is_extra = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not is_extra:
            raise WorkloadError(
                f"{reference}: parameter {parameter.name!r} has no default; give it one, which "
                f"--set {parameter.name}=VALUE changes"
            )


def _keywords(function: Callable[..., Any], *, positional: int = 0) -> dict[str, Setting]:
    """The keywords that a setting can change: those with a plain default."""
    try:
        parameters = list(inspect.signature(function).parameters.items())[positional:]
    except (TypeError, ValueError):  # written in C, without a signature
        return {}
    return {
        name: _default_of(parameter)
        for name, parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and (parameter.default is None or isinstance(parameter.default, (str, int, float, bool)))
    }


def _default_of(parameter: inspect.Parameter) -> Setting:
    """The default, as a float where `momentum: float = 0` says that it is one."""
    default: Setting = parameter.default
    if type(default) is int and parameter.annotation in (float, "float"):
        return float(default)
    return default


def _with_optimizer_settings(
    workload: Workload,
    reference: str,
    settings: dict[str, str | Setting],
    *,
    known: Mapping[str, Setting],
) -> tuple[Workload, dict[str, Setting]]:
    if not settings:
        return workload, {}
    possible = {}
    if workload.optimizer is not None:  # called with the parameters and the rate by position
        possible = _keywords(workload.optimizer, positional=2)
    for name in settings:
        if name not in possible:
            everything = sorted({*known, *possible})
            raise UsageError(
                f"workload {reference!r} has no setting {name!r}; "
                f"{did_you_mean(name, everything)}it has {', '.join(everything) or 'none'}"
            )
    used = {name: as_type_of(possible[name], value, name) for name, value in settings.items()}
    assert workload.optimizer is not None
    return replace(workload, optimizer=partial(workload.optimizer, **used)), used
