"""The run file, `batchlab.toml`: a training command with the facts that batchlab needs."""

from __future__ import annotations

import difflib
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from batchlab.errors import UsageError

RUN_FILE_NAME = "batchlab.toml"
_Text = Annotated[str, Meta(pattern=r"\S")]
_Count = Annotated[int, Meta(ge=1)]
_Rate = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
_SEVERAL = Meta(min_length=1)
_COUNT = (_Count, "a whole number of at least 1")
# By key, the type of its value, and that type in words. The keys are the options of the command
# line, with _ or - in them.
_KEYS: dict[str, tuple[Any, str]] = {
    "command": (Annotated[tuple[str, ...], _SEVERAL], "a list of texts"),
    "metric": (_Text, 'a name, as in "val_loss"'),
    "better": (Literal["higher", "lower"], '"higher" or "lower", whichever is better'),
    "examples": _COUNT,
    "batch_size": _COUNT,
    "learning_rate": (_Rate, "a finite number above 0"),
    "batch_sizes": (
        Annotated[tuple[_Count | Literal["full"], ...], _SEVERAL],
        'a list of whole numbers of at least 1 or "full", as in [32, 128, 512]',
    ),
    "learning_rates": (
        Annotated[tuple[_Rate, ...], _SEVERAL],
        "a list of finite numbers above 0, as in [0.001, 0.003]",
    ),
    **dict.fromkeys(("seeds", "epochs", "steps"), _COUNT),
    "target": (_Text, 'a metric and its value, as in "accuracy=0.97"'),
    "budget": (_Text | _Rate, 'a time, as in "30m"'),
    "pattern": (_Text, "a regular expression between '...'"),
    "config": (_Text, "the path of a template"),
    "cwd": (_Text, "the path of a folder"),
}


def read_run_file(path: Path) -> dict[str, Any]:
    """Return the values in the file at `path`, by key; `config` and `cwd` as absolute paths.

    Raises:
        UsageError: it can't be read, is no TOML, or holds an unknown key or a wrong value; the
            message is one line.
    """
    values: dict[str, Any] = {}
    for key, value in _parsed(path).items():
        name = key.replace("-", "_")
        if name not in _KEYS:
            near = difflib.get_close_matches(name, _KEYS, n=1)
            hint = f"there are {', '.join(_KEYS)}"
            if near:
                hint = f"did you mean {near[0]!r}?"
            raise UsageError(f"{path}: unknown key {key!r}; {hint}")
        if name in values:
            raise UsageError(f"{path}: {key} is given twice, once with - and once with _")
        kind, expected = _KEYS[name]
        try:
            values[name] = msgspec.convert(value, kind)
        except msgspec.ValidationError:
            if name == "command" and isinstance(value, str):
                expected += f", as in {value.split()}"
            raise UsageError(f"{path}: {key} = {value!r}; expected {expected}") from None
        if name in ("config", "cwd"):
            values[name] = (path.parent / values[name]).resolve()
    return values


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8; write it as TOML") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
