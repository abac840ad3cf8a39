"""Loading of a workload by its name (`mnist-mlp`, `train.py:workload`), from its file."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle
import torch

from batchlab.errors import BatchlabError, EditedError, UsageError, WorkloadError
from batchlab.records.trial import Setting
from batchlab.version import __version__
from batchlab.workload.builtin import workload_names
from batchlab.workload.definition import Workload, parameters_of
from batchlab.workload.given_data import draws_by_seed, with_data_as_read, with_validation
from batchlab.workload.identity import MadeModel, workload_identity
from batchlab.workload.pieces import chosen
from batchlab.workload.schedules import SCHEDULES
from batchlab.workload.source import (
    SourceFile,
    edited_since_imported,
    files_below,
    forget_imported,
    heard_opening,
    imported_by,
    note,
    note_unnamed,
    told,
)

Made = Workload | Callable[..., Workload]

# Before the name of a file in which a workload stands, where imported files have their module's.
_MAIN = "workload "


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedWorkload:
    """A workload that is ready to train, and its identity."""

    workload: Workload  # with its validation set split off if it asked for that
    # The identity of its source, settings and data, and of its model once a child process has made
    # one (`with_model`).
    workload_id: str
    reference: str  # how it was named
    settings: tuple[tuple[str, Setting], ...]  # all settings and the values used, sorted by name
    notes: tuple[str, ...] = ()  # what a reader must know about how its data are read
    files: tuple[SourceFile, ...] = ()  # the user's files that child processes import or read
    folder: Path | None = None  # where files that it reads count; None for the current one
    draws_by_seed: bool = False  # whether each seed draws its own examples for validation


def loaded_workload(
    workload: Workload | str, settings: Mapping[str, str | Setting]
) -> LoadedWorkload:
    """Load a workload by its name (`load_workload`), or one that is given (`live_workload`).

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
    if isinstance(workload, Workload):
        return live_workload(workload, settings)
    why = (
        f"workload is {workload!r}; expected a batchlab.Workload, a built-in name or "
        f"path/file.py:name"
    )
    if isinstance(workload, FunctionType):
        name = workload.__name__
        why = f"workload is the function {name}; give what it returns: {name}()"
    elif isinstance(workload, torch.nn.Module):
        why = (
            f"workload is a model ({type(workload).__name__}); give a batchlab.Workload, which has "
            f"its data, loss and optimizer too"
        )
    raise UsageError(why)


def load_workload(reference: str, settings: Mapping[str, str | Setting]) -> LoadedWorkload:
    """Load a built-in workload or a user's `path/file.py:name`.

    Raises:
        UsageError: an unknown workload or setting, or a value of the wrong type.
        WorkloadError: the file is missing, cannot be run, or holds no such workload.
    """
    path, colon, name = reference.rpartition(":")
    if (colon and not name) or (not colon and reference.endswith(".py")):
        file = path or name
        raise UsageError(
            f"{reference!r} names a file and no workload in it; give {file}:NAME, where NAME is a "
            f"Workload or a function that returns one"
        )
    main = Path(path) if colon else None
    if main is not None:
        _make_ready(main)
    with heard_opening() as opened:
        made, code = _built_in(reference) if main is None else _in_file(main, name)
        if isinstance(made, Workload):
            workload, used = made, dict[str, Setting]()
        else:
            workload, used = _called(made, reference, settings)
    rest = {name: value for name, value in settings.items() if name not in used}
    workload, others = _with_other_settings(workload, reference, rest, known=used)
    return _loaded(workload, reference, used | others, code, main, opened)


def live_workload(workload: Workload, settings: Mapping[str, Setting]) -> LoadedWorkload:
    """Load a workload that exists only in this process, such as a notebook's or a closure.

    Raises:
        UsageError: a setting that its optimizer does not take.
    """
    workload, used = _with_other_settings(workload, workload.name, settings, known={})
    return _loaded(workload, workload.name, used, {}, None, ())


def describe_workloads() -> list[dict[str, Any]]:
    """List the built-in workloads: name, their function's first line, settings with defaults."""
    described = []
    for name in workload_names():
        function, _ = _built_in(name)
        first_line = (inspect.getdoc(function) or "").partition("\n")[0]
        described.append({"name": name, "description": first_line, "settings": _keywords(function)})
    return described


def with_model(loaded: LoadedWorkload, model: MadeModel) -> LoadedWorkload:
    """Return the workload with an identity that includes its model and what that reads."""
    digest = hashlib.sha256(f"{loaded.workload_id}\0{model.text}".encode())
    files = {*loaded.files, *model.files}
    return replace(loaded, workload_id=digest.hexdigest()[:16], files=_by_path(files))


def _by_path(files: Iterable[SourceFile]) -> tuple[SourceFile, ...]:
    return tuple(sorted(set(files), key=lambda file: file.path))


def _loaded(
    workload: Workload,
    reference: str,
    used: Mapping[str, Setting],
    code: Mapping[str, SourceFile],
    main: Path | None,
    opened: Iterable[str],
) -> LoadedWorkload:
    """Identify a workload by its data, code and opened files; a live one by what it does."""
    settings = tuple(sorted(used.items()))
    workload, notes = with_data_as_read(workload)
    ready = with_validation(workload)  # first, because it also refuses data that cannot be hashed
    beside: dict[str, SourceFile] = {}
    if main is not None:
        paths = {Path(file.path) for file in code.values()}
        texts = [path.read_text(errors="replace") for path in paths if path.suffix == ".py"]
        read = files_below(main.parent, opened, named_in=f"{texts} {settings}")
        beside = {
            place: file for place, file in read.items() if Path(file.path).resolve() not in paths
        }
        note_unnamed(beside.values())
    run = [file for file in beside.values() if file.path.endswith(".py")]
    workload_id, modules = workload_identity(workload, settings=settings, code=code, beside=beside)
    imported = {name: file for name, file in modules.items() if not name.startswith(_MAIN)}
    for edited in edited_since_imported(imported):
        raise EditedError(
            f"{edited} was edited since it was imported here, and trainings would import it as it "
            f"is now; restart Python (in a notebook: the kernel) and give the workload again"
        )
    note(imported)
    return LoadedWorkload(
        workload=ready,
        workload_id=workload_id,
        folder=(main or Path(__file__)).parent if code else None,
        reference=reference,
        settings=settings,
        notes=notes,
        files=_by_path([*imported.values(), *run]),
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
    # The code that it uses elsewhere in the package changes with the version.
    return module.workload, {f"{_MAIN}{__version__}": SourceFile.now(module.__file__)}


def _make_ready(file: Path) -> None:
    """Check that the file is there, and let its neighbors be imported as they are now."""
    if file.is_dir():
        raise WorkloadError(f"{file} is a folder; name a workload as {file}/file.py:name")
    if not file.is_file():
        raise WorkloadError(f"{file}: there is no such file; name a workload as path/file.py:name")
    path = file.resolve()
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    with suppress(OSError):  # what cannot be read cannot be imported either, and Python says so
        forget_imported(imported_by(path))


def _in_file(file: Path, name: str) -> tuple[Made, dict[str, SourceFile]]:
    """Run a file; return what it holds under a name, and its code by module."""
    module = _imported(file)
    if not hasattr(module, name):
        candidates = sorted(_candidates(module))
        possible = ", ".join(candidates) or "nothing that could be one"
        raise WorkloadError(
            f"{file} has no {name!r}; {_did_you_mean(name, candidates)}it holds {possible}; a "
            f"workload is a batchlab.Workload or a function that returns one"
        )
    found = getattr(module, name)
    if not isinstance(found, Workload) and not callable(found):
        raise WorkloadError(
            f"{file}: {name!r} is {_kind_of(found)}; expected a batchlab.Workload or a "
            f"function that returns one"
        )
    try:
        imported = imported_by(file)  # now, because running it may set where its modules lie
        # Two workloads of one file share its code and may share their data, so the name counts.
        return found, {f"{_MAIN}{name}": SourceFile.now(file.resolve()), **imported}
    except OSError as error:
        raise WorkloadError(
            f"{file}: it ran, but then {error.filename} could not be read ({error.strerror}); "
            f"leave the files of a workload in place while it is loaded"
        ) from error


def _imported(file: Path) -> ModuleType:
    path = file.resolve()
    module_name = path.stem if path.stem.isidentifier() else "batchlab_user_workload"
    known = sys.modules.get(module_name)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() != path:
        module_name = f"batchlab_user_{module_name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise WorkloadError(f"{file}: not a Python file; a workload's file ends in .py")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(module_name)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if before is not None:
            sys.modules[module_name] = before
        if isinstance(error, Exception | SystemExit):
            raise WorkloadError(_why_not_run(file, error)) from error
        raise
    # Children get its functions by value. By name they would run the file again, perhaps edited by
    # then, and would not find it at all if its name is not that of a module (my-train.py).
    cloudpickle.register_pickle_by_value(module)
    return module


def _why_not_run(file: Path, error: Exception | SystemExit) -> str:
    if isinstance(error, BatchlabError):
        return f"{file}: {error}"
    if isinstance(error, SyntaxError):  # it may lie in a module that the file imports
        name = Path(error.filename).name if error.filename else file.name
        where = f"{file}" if name == file.name else f"{file}: {name}"
        line = f", line {error.lineno}" if error.lineno else ""
        return f"{where}{line}: {error.msg}; the file cannot be run until that is mended"
    how = f"python {file} shows the whole report"
    if isinstance(error, ImportError) and "relative import" in str(error):
        own, *outer = file.resolve().parents
        packages = [own, *takewhile(lambda folder: (folder / "__init__.py").is_file(), outer)]
        dotted = ".".join([*(folder.name for folder in reversed(packages)), file.stem])
        how = (
            f"it belongs to a package: write a file beside the folder {packages[-1].name} that "
            f"says `from {dotted} import workload`, and name that file"
        )
    return f"{file}: running it raised {told(error)}; {how}"


def _candidates(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            isinstance(value, Workload)
            or (inspect.isfunction(value) and value.__module__ == module.__name__)
        )
    ]


def _did_you_mean(given: str, possible: Iterable[str]) -> str:
    """Return a question with the nearest of the possible names, or no text if none is near."""
    close = difflib.get_close_matches(given, list(possible), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def _kind_of(value: object) -> str:
    """Describe a value in words; a function without a `return` gives nothing."""
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def _called(
    function: Callable[..., Workload], reference: str, settings: Mapping[str, str | Setting]
) -> tuple[Workload, dict[str, Setting]]:
    """Call the function with these settings; return the workload and all settings as used."""
    for parameter in parameters_of(function):
        is_extra = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not is_extra:
            raise WorkloadError(
                f"{reference}: parameter {parameter.name!r} has no default; give it one, which "
                f"--set {parameter.name}=VALUE changes"
            )
    defaults = _keywords(function)
    given = {
        name: as_type_of(defaults[name], value, name)
        for name, value in settings.items()
        if name in defaults
    }
    try:
        workload = function(**given)
    except BatchlabError:
        raise
    except Exception as error:
        raise WorkloadError(f"{reference}: making the workload raised {told(error)}") from error
    if not isinstance(workload, Workload):
        raise WorkloadError(
            f"{reference} returned {_kind_of(workload)}; expected a batchlab.Workload"
        )
    return workload, defaults | given


def _keywords(function: Callable[..., Any], *, positional: int = 0) -> dict[str, Setting]:
    """Return the keywords that a setting can change: those with a plain default.

    The default of `momentum: float = 0` becomes a float.
    """
    return {
        parameter.name: float(parameter.default)
        if type(parameter.default) is int and parameter.annotation in (float, "float")
        else parameter.default
        for parameter in parameters_of(function)[positional:]
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and (parameter.default is None or isinstance(parameter.default, (str, int, float, bool)))
    }


_SCHEDULE = "schedule"


def _with_other_settings(
    workload: Workload,
    reference: str,
    settings: Mapping[str, str | Setting],
    *,
    known: Mapping[str, Setting],
) -> tuple[Workload, dict[str, Setting]]:
    """Return the workload with settings of its optimizer, or with a schedule by name."""
    of_optimizer: dict[str, Setting] = {}
    if workload.optimizer is not None:  # called with the parameters and the rate by position
        of_optimizer = _keywords(workload.optimizer, positional=2)
    possible = {_SCHEDULE: "", **of_optimizer}
    for name in settings:
        if name not in possible:
            everything = sorted({*known, *possible})
            raise UsageError(
                f"workload {reference!r} has no setting {name!r}; "
                f"{_did_you_mean(name, everything)}it has {', '.join(everything)}"
            )
    used = {name: as_type_of(possible[name], value, name) for name, value in settings.items()}
    if _SCHEDULE in used and _SCHEDULE not in of_optimizer:
        name = str(used[_SCHEDULE])
        schedule = chosen(name, SCHEDULES, setting=_SCHEDULE, workload=reference)
        workload = replace(workload, schedule=schedule, scheduler=None, scheduler_every="epoch")
    given = {name: value for name, value in used.items() if name in of_optimizer}
    if given:
        assert workload.optimizer is not None
        workload = replace(workload, optimizer=partial(workload.optimizer, **given))
    return workload, used


# Beyond this, JSON numbers are not exact, and a trial's identity is its JSON (RFC 8785).
_LARGEST_WHOLE = 2**53 - 1
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def as_type_of(default: Setting, value: str | Setting, name: str) -> Setting:
    """Return `value` as a setting of the type of `default`, or of any type if that is None."""
    given: Any = value
    if hasattr(given, "item"):  # one of NumPy's numbers
        with suppress(ValueError, RuntimeError):  # several numbers are not one
            given = given.item()
    found = _read(default, given) if isinstance(given, str) else _converted(default, given)
    if found is _UNREADABLE or not _is_exact(found):
        raise UsageError(f"setting {name}={value}: expected {_expected(default, found)}")
    assert found is None or isinstance(found, (str, int, float))
    return found


_UNREADABLE = object()


def _read(default: Setting, text: str) -> object:
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        return _WORDS.get(text.lower(), _UNREADABLE)
    kinds = (int, float) if default is None else (type(default),)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            continue
    return text if default is None else _UNREADABLE


def _converted(default: Setting, value: object) -> object:
    if isinstance(default, float) and type(value) is int:
        return float(value)  # as the text "0" would be, so that both are the same trial
    if default is None:
        return value if value is None or isinstance(value, (int, float)) else _UNREADABLE
    return value if type(value) is type(default) else _UNREADABLE


def _is_exact(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) <= _LARGEST_WHOLE


def _expected(default: Setting, found: object) -> str:
    """Describe what a setting with that default takes, with the bound if it was exceeded."""
    whole = "a whole number"
    if isinstance(found, int) and not isinstance(found, bool):
        whole += " of at most 2^53 - 1"
    if default is None:
        return f"a text, a finite number or {whole}"
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, str):
        return f"a text, such as {default!r}"
    kind = whole if isinstance(default, int) else "a finite number"
    return f"{kind}, such as {default}"
