"""RunFile: `batchlab.toml`, a training command with the facts that batchlab needs."""

from __future__ import annotations

import difflib
import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from batchlab.errors import UsageError

RUN_FILE_NAME = "batchlab.toml"
Text = Annotated[str, Meta(pattern=r"\S")]
Count = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
Size = Count | Literal["full"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFile:
    """The contents of a file; its keys are the options of the command line, with _ or - in them.

    `config` and `cwd` are absolute, resolved from the file's folder; `batch_size` and
    `learning_rate` are those that the user trains with now. A value is None if the file does not
    give it.
    """

    command: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    metric: Text | None = None
    better: Literal["higher", "lower"] | None = None
    examples: Count | None = None
    batch_size: Count | None = None
    learning_rate: Rate | None = None
    batch_sizes: Annotated[tuple[Size, ...], Meta(min_length=1)] | None = None
    learning_rates: Annotated[tuple[Rate, ...], Meta(min_length=1)] | None = None
    seeds: Count | None = None
    epochs: Count | None = None
    steps: Count | None = None
    target: Text | None = None
    budget: Text | Rate | None = None
    pattern: Text | None = None
    config: Path | None = None
    cwd: Path | None = None


def read_run_file(path: Path) -> RunFile:
    """Read the file at `path`.

    Raises:
        UsageError: it can't be read, is no TOML, or holds an unknown key or a wrong value; the
            message is one line.
    """
    given = _parsed(path)
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in _EXPECTED:
            raise UsageError(f"{path}: unknown key {key!r}; {_meant(name)}")
        if name in values:
            raise UsageError(f"{path}: {key} is given twice, once with - and once with _")
        is_path = name in ("config", "cwd")
        try:
            values[name] = msgspec.convert(value, Text if is_path else _TYPES[name])
        except msgspec.ValidationError:
            raise UsageError(
                f"{path}: {key} = {value!r}; expected {_EXPECTED[name]}{_hint(value)}"
            ) from None
        if is_path:
            values[name] = (path.parent / values[name]).resolve()
    return RunFile(**values)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8; write it as TOML") from None
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}; batchlab init -- python train.py drafts one"
        ) from None


def _meant(name: str) -> str:
    near = difflib.get_close_matches(name, _EXPECTED, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_TYPES)}"


def _hint(value: object) -> str:
    """Return a hint how to split a command that is written as one text."""
    if not isinstance(value, str) or " " not in value:
        return ""
    try:
        parts = shlex.split(value)
    except ValueError:
        return ""
    return f", as in [{', '.join(repr(part) for part in parts[:4])}{', ...' * (len(parts) > 4)}]"


_WHOLE = "a whole number of at least 1"
_EXPECTED = {
    "command": "a list of texts",
    "metric": 'a name, as in "val_loss"',
    "better": '"higher" or "lower", whichever is better',
    **dict.fromkeys(("examples", "batch_size", "seeds", "epochs", "steps"), _WHOLE),
    "learning_rate": "a finite number above 0",
    "batch_sizes": 'a list of whole numbers of at least 1 or "full", as in [32, 128, 512]',
    "learning_rates": "a list of finite numbers above 0, as in [0.001, 0.003]",
    "target": 'a metric and its value, as in "accuracy=0.97"',
    "budget": 'a time, as in "30m"',
    "pattern": "a regular expression between '...'",
    "config": "the path of a template",
    "cwd": "the path of a folder",
}
_TYPES = get_type_hints(RunFile, include_extras=True)
assert set(_EXPECTED) == set(_TYPES)
