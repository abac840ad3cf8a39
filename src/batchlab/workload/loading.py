"""Loading of a workload by its name, such as `mnist-mlp` or `train.py:workload`."""

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
from types import ModuleType, NoneType
from typing import Any, cast

import cloudpickle
import msgspec
import rfc8785

from batchlab.errors import BatchlabError, UsageError, WorkloadError
from batchlab.records.trial import Setting
from batchlab.version import __version__
from batchlab.workload.builtin import workload_names
from batchlab.workload.definition import Precision, Workload, parameters_of
from batchlab.workload.given_data import draws_by_seed, with_data_as_read, with_validation
from batchlab.workload.identity import workload_identity
from batchlab.workload.pieces import chosen
from batchlab.workload.precision import with_precision
from batchlab.workload.schedules import SCHEDULES
from batchlab.workload.source import (
    SourceFile,
    files_below,
    forget_imported,
    heard_opening,
    imported_by,
    told,
)

# The key of a workload's file starts with this; the keys of imported files are module names.
_MAIN = "workload "


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedWorkload:
    """A workload that is ready to train, and its identity.

    Attributes:
        workload: the workload; validation data are already split off, if requested.
        workload_id: a hash of the workload's source, settings and data. It covers the model only
            after `with_model`, which needs a model made by a child process.
        reference: the name by which the workload was loaded.
        settings: all settings and the values used, sorted by name.
        notes: sentences for the report about how the data are read.
        files: the user's files that child processes import or read.
        folder: files that the workload reads below this folder are hashed; None for the current
            folder.
        draws_by_seed: whether each seed draws its own validation examples.
    """

    workload: Workload
    workload_id: str
    reference: str
    settings: tuple[tuple[str, Setting], ...]
    notes: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()
    folder: Path | None = None
    draws_by_seed: bool = False


def load_workload(
    workload: Workload | str, settings: Mapping[str, str | Setting]
) -> LoadedWorkload:
    """Load a built-in workload by its name, a user's `path/file.py:name`, or a workload object.

    Raises:
        UsageError: an unknown workload or setting, or a value of the wrong type.
        WorkloadError: the file is missing, cannot be run, or does not contain the workload.
    """
    if not isinstance(settings, Mapping):
        raise UsageError(
            f'settings {settings!r}: expected names with their values, such as {{"width": 64}}'
        )
    if isinstance(workload, Workload):
        return _loaded(workload, workload.name, settings, {}, code={}, main=None, opened=())
    if not isinstance(workload, str):
        raise UsageError(
            f"workload is of type {type(workload).__name__}; expected a batchlab.Workload (what a "
            f"function returns, not the function), a built-in name or path/file.py:name"
        )
    path, colon, name = workload.rpartition(":")
    if (colon and not name) or (not colon and workload.endswith(".py")):
        file = path or name
        raise UsageError(
            f"{workload!r} names a file and no workload in it; give {file}:NAME, where NAME is a "
            f"Workload or a function that returns one"
        )
    main = Path(path) if colon else None
    if main is not None:
        _make_ready(main)
    used: dict[str, Setting] = {}
    with heard_opening() as opened:
        made, code = _built_in(workload) if main is None else _in_file(main, name)
        if not isinstance(made, Workload):
            made, used = _called(made, workload, settings)
    return _loaded(made, workload, settings, used, code=code, main=main, opened=opened)


def describe_workloads() -> list[dict[str, Any]]:
    """Return the name, description and settings (with defaults) of each built-in workload."""
    described = []
    for name in workload_names():
        function, _ = _built_in(name)
        first_line = (inspect.getdoc(function) or "").partition("\n")[0]
        described.append({"name": name, "description": first_line, "settings": _keywords(function)})
    return described


def with_model(loaded: LoadedWorkload, text: str, files: tuple[SourceFile, ...]) -> LoadedWorkload:
    """Return `loaded` with a new id that includes the model's description `text`; add `files`."""
    digest = hashlib.sha256(f"{loaded.workload_id}\0{text}".encode())
    files = tuple(dict.fromkeys([*loaded.files, *files]))
    return replace(loaded, workload_id=digest.hexdigest()[:16], files=files)


def _loaded(
    workload: Workload,
    reference: str,
    settings: Mapping[str, str | Setting],
    used: dict[str, Setting],
    *,
    code: Mapping[str, SourceFile],
    main: Path | None,
    opened: Iterable[str],
) -> LoadedWorkload:
    """Apply the settings that are not yet `used`, convert the data and compute the identity.

    The identity is a hash of settings, data and files. If `code` is empty, the workload's functions
    are hashed in place of the files.
    """
    workload, used = _with_other_settings(workload, reference, settings, used)
    in_order = tuple(sorted(used.items()))
    workload, notes = with_data_as_read(workload)
    ready = with_validation(workload)  # This refuses unusable data before they are hashed.
    read: dict[str, SourceFile] = {}  # Files other than code, by their paths below the folder.
    if main is not None:
        sources = [Path(file.path) for file in code.values()]
        texts = []
        for path in sources:
            if path.suffix == ".py":
                texts.append(path.read_text(errors="replace"))
        below = files_below(main.parent, opened, named_in="".join([str(in_order), *texts]))
        for place, file in below.items():
            if Path(file.path).resolve() not in sources:
                read[place] = file
    run = [file for file in read.values() if file.path.endswith(".py")]
    workload_id, modules = workload_identity(workload, settings=in_order, code=code, read=read)
    imported = [file for name, file in modules.items() if not name.startswith(_MAIN)]
    return LoadedWorkload(
        workload=with_precision(ready),
        workload_id=workload_id,
        folder=(main or Path(__file__)).parent if code else None,
        reference=reference,
        settings=in_order,
        notes=notes,
        files=tuple(dict.fromkeys([*imported, *run])),
        draws_by_seed=draws_by_seed(workload),
    )


def _built_in(reference: str) -> tuple[Callable[..., Workload], dict[str, SourceFile]]:
    if reference not in workload_names():
        raise UsageError(
            f"unknown workload {reference!r}; {_did_you_mean(reference, workload_names())}built in "
            f"are {', '.join(workload_names())}; your own is named path/file.py:name"
        )
    module = importlib.import_module(f"batchlab.workload.builtin.{reference.replace('-', '_')}")
    assert module.__file__ is not None
    # The version in the key represents all other code of batchlab that the workload uses.
    return module.workload, {f"{_MAIN}{__version__}": SourceFile.now(module.__file__)}


def _make_ready(file: Path) -> None:
    """Check that a workload's file exists; unload its modules, so that edits take effect."""
    if file.is_dir():
        raise WorkloadError(f"{file} is a folder; name a workload as {file}/file.py:name")
    if not file.is_file():
        raise WorkloadError(f"{file}: there is no such file; name a workload as path/file.py:name")
    path = file.resolve()
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    with suppress(OSError):  # importing an unreadable file will raise a clearer error
        forget_imported(path)


def _in_file(
    file: Path, name: str
) -> tuple[Workload | Callable[..., Workload], dict[str, SourceFile]]:
    """Run a file; return the object called `name` in it, and the user's source files by module."""
    module = _imported(file)
    if not hasattr(module, name):
        candidates = sorted(_candidates(module))
        possible = ", ".join(candidates) or "nothing that could be one"
        raise WorkloadError(
            f"{file} has no {name!r}; {_did_you_mean(name, candidates)}it holds {possible}; a "
            f"workload is a batchlab.Workload or a function that returns one"
        )
    workload = getattr(module, name)
    if not isinstance(workload, Workload) and not callable(workload):
        raise WorkloadError(
            f"{file}: {name!r} is {_kind_of(workload)}; expected a batchlab.Workload or a "
            f"function that returns one"
        )
    imported = imported_by(file)  # Search only now: running the file may have changed sys.path.
    # Include the workload's name, because two workloads of one file have the same code and may have
    # the same data.
    return workload, {f"{_MAIN}{name}": SourceFile.now(file.resolve()), **imported}


def _imported(file: Path) -> ModuleType:
    path = file.resolve()
    module_name = path.stem if path.stem.isidentifier() else "batchlab_user_workload"
    namesake = sys.modules.get(module_name)
    if namesake is not None and Path(getattr(namesake, "__file__", None) or "").resolve() != path:
        module_name = f"batchlab_user_{module_name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise WorkloadError(f"{file}: not a Python file; a workload's file ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if isinstance(error, Exception | SystemExit):
            raise WorkloadError(_why_not_run(file, error)) from error
        raise
    # Pickle the file's functions by value. Functions pickled by name would make each child import
    # the file again, perhaps after an edit, and a file such as my-train.py can't be imported.
    cloudpickle.register_pickle_by_value(module)
    return module


def _why_not_run(file: Path, error: Exception | SystemExit) -> str:
    if isinstance(error, BatchlabError):
        return f"{file}: {error}"
    how = f"python {file} shows the whole report"
    if isinstance(error, ImportError) and "relative import" in str(error):
        how = (
            "it belongs to a package: write a file outside the package that imports the workload, "
            "and name that file"
        )
    return f"{file}: running it raised {told(error)}; {how}"


def _candidates(module: ModuleType) -> list[str]:
    candidates = []
    for name, value in vars(module).items():
        is_of_file = inspect.isfunction(value) and value.__module__ == module.__name__
        if not name.startswith("_") and (isinstance(value, Workload) or is_of_file):
            candidates.append(name)
    return candidates


def _did_you_mean(given: str, possible: Iterable[str]) -> str:
    """Return "did you mean ...?" with the most similar name, or "" if no name is similar."""
    close = difflib.get_close_matches(given, list(possible), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def _kind_of(value: object) -> str:
    """Return "nothing" for None (from a function without `return`), else the type in words."""
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def _called(
    function: Callable[..., Workload], reference: str, settings: Mapping[str, str | Setting]
) -> tuple[Workload, dict[str, Setting]]:
    """Call `function` with the settings it accepts; return the workload and all keyword values."""
    defaults = _keywords(function)
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        if name in defaults:
            changes[name] = as_type_of(defaults[name], value, name)
    try:
        workload = function(**changes)
    except BatchlabError:
        raise
    except Exception as error:
        raise WorkloadError(f"{reference}: making the workload raised {told(error)}") from error
    if not isinstance(workload, Workload):
        raise WorkloadError(
            f"{reference} returned {_kind_of(workload)}; expected a batchlab.Workload"
        )
    return workload, defaults | changes


def _keywords(function: Callable[..., Any], *, positional: int = 0) -> dict[str, Setting]:
    """Return the default of each keyword whose default is a text, number, bool or None.

    The first `positional` parameters are skipped. If a parameter is annotated as float, an integer
    default becomes a float.
    """
    keywords: dict[str, Setting] = {}
    for parameter in [*parameters_of(function).values()][positional:]:
        default = parameter.default
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        if type(default) is int and parameter.annotation in (float, "float"):
            default = float(default)
        if default is None or isinstance(default, (str, int, float, bool)):
            keywords[parameter.name] = default
    return keywords


_SCHEDULE = "schedule"
_PRECISION = "precision"


def _with_other_settings(
    workload: Workload,
    reference: str,
    settings: Mapping[str, str | Setting],
    used: dict[str, Setting],
) -> tuple[Workload, dict[str, Setting]]:
    """Apply the settings that are not yet `used` to optimizer, schedule and precision.

    Return the workload, and all settings with their values.
    """
    of_optimizer: dict[str, Setting] = {}
    if workload.optimizer is not None:
        # The first two arguments of `optimizer` are the parameters and the rate, not settings.
        of_optimizer = _keywords(workload.optimizer, positional=2)
    possible = {_SCHEDULE: "", _PRECISION: workload.precision, **of_optimizer}
    rest: dict[str, Setting] = {}
    keywords: dict[str, Setting] = {}
    for name, value in settings.items():
        if name in used:
            continue
        if name not in possible:
            everything = sorted({*used, *possible})
            raise UsageError(
                f"workload {reference!r} has no setting {name!r}; "
                f"{_did_you_mean(name, everything)}it has {', '.join(everything)}"
            )
        rest[name] = as_type_of(possible[name], value, name)
        if name in of_optimizer:
            keywords[name] = rest[name]
    if _SCHEDULE in rest and _SCHEDULE not in keywords:
        name = str(rest[_SCHEDULE])
        schedule = chosen(name, SCHEDULES, setting=_SCHEDULE, workload=reference)
        workload = replace(workload, schedule=schedule, scheduler=None)
    if _PRECISION in rest and _PRECISION not in keywords:
        # `Workload` refuses texts that are not the name of a precision.
        workload = replace(workload, precision=cast(Precision, rest[_PRECISION]))
    if keywords:
        assert workload.optimizer is not None
        workload = replace(workload, optimizer=partial(workload.optimizer, **keywords))
    return workload, used | rest


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number below 2^53",
    float: "a finite number",
    str: "a text",
    NoneType: "a text or a finite number",
}


def as_type_of(default: Setting, value: str | Setting, name: str) -> Setting:
    """Convert `value` to the type of `default`; if `default` is None, to a number if possible."""
    given: Any = value
    if hasattr(given, "item"):  # NumPy numbers have `item`.
        with suppress(ValueError, RuntimeError):  # An array of several numbers is refused below.
            given = given.item()
    kind: Any = next(kind for kind in _KINDS if isinstance(default, kind))
    expected = _KINDS[kind]
    if default is None:
        kind = Setting
        with suppress(msgspec.ValidationError):
            given = msgspec.convert(given, int | float, strict=False)
    try:
        setting: Setting = msgspec.convert(given, kind, strict=False)
        rfc8785.dumps(setting)  # raises for NaN and large numbers, which trial ids can't contain
    except (msgspec.ValidationError, rfc8785.CanonicalizationError) as error:
        raise UsageError(
            f"setting {name}={value}: expected {expected} (default: {default!r})"
        ) from error
    return setting
