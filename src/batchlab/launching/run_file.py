"""RunFile: `batchlab.toml`, a training command with what batchlab has to know of it."""

from __future__ import annotations

import difflib
import math
import shlex
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from batchlab.errors import UsageError

RUN_FILE_NAME = "batchlab.toml"
Size = int | Literal["full"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFile:
    """What a file says; its keys are the options of the command line, with _ or - in them.

    Attributes:
        command: the program and its arguments, with placeholders; None: not given.
        metric: what is followed, as the script prints it.
        better: which values of the metric are better.
        examples: training examples in an epoch.
        batch_size: the one that the script is trained with now.
        learning_rate: the same.
        batch_sizes: those to try.
        learning_rates: those to try.
        seeds: trainings of each combination.
        epochs: passes of a whole training.
        steps: updates of a whole training.
        target: a metric and its value, as `accuracy=0.97`.
        budget: a time such as `30m`, or seconds.
        pattern: a regular expression for lines of progress.
        config: the configuration template, an absolute path.
        cwd: where the command runs, an absolute path; None: where batchlab was called.

    Everything is None where the file does not say it.
    """

    command: tuple[str, ...] | None = None
    metric: str | None = None
    better: Literal["higher", "lower"] | None = None
    examples: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    batch_sizes: tuple[Size, ...] | None = None
    learning_rates: tuple[float, ...] | None = None
    seeds: int | None = None
    epochs: int | None = None
    steps: int | None = None
    target: str | None = None
    budget: str | float | None = None
    pattern: str | None = None
    config: Path | None = None
    cwd: Path | None = None


def read_run_file(path: Path) -> RunFile:
    """The file at `path`.

    Raises:
        UsageError: it can't be read, is no TOML, or holds an unknown key or a wrong value; the
            message is one line.
    """
    given = _parsed(path)
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in _CHECKS:
            raise UsageError(f"{path}: unknown key {key!r}; {_meant(name)}")
        if name in values:
            raise UsageError(f"{path}: {key} is given twice, once with - and once with _")
        checked = _CHECKS[name](value)
        if checked is None:
            raise UsageError(f"{path}: {key} = {value!r}; expected {_EXPECTED[name]}{_hint(value)}")
        values[name] = checked
    for name in ("config", "cwd"):
        if name in values:
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
    near = difflib.get_close_matches(name, _CHECKS, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_CHECKS)}"


def _hint(value: object) -> str:
    """How a command that is written as one text is written as several."""
    if not isinstance(value, str) or " " not in value:
        return ""
    try:
        parts = shlex.split(value)
    except ValueError:
        return ""
    return f", as in [{', '.join(repr(part) for part in parts[:4])}{', ...' * (len(parts) > 4)}]"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _command(value: object) -> tuple[str, ...] | None:
    is_command = isinstance(value, list) and value and all(isinstance(each, str) for each in value)
    return tuple(value) if is_command and isinstance(value, list) else None


def _better(value: object) -> object:
    return value if value in ("higher", "lower") else None


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return value if is_count and isinstance(value, int) else None


def _rate(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < math.inf else None


def _sizes(value: object) -> tuple[Size, ...] | None:
    return _each(value, lambda size: "full" if size == "full" else _count(size))


def _rates(value: object) -> tuple[float, ...] | None:
    return _each(value, _rate)


def _each(value: object, checked: Callable[[object], Any]) -> tuple[Any, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    found = tuple(checked(each) for each in value)
    return None if None in found else found


def _time(value: object) -> str | float | None:
    return _text(value) or _rate(value)


_CHECKS: dict[str, Callable[[object], object]] = {
    "command": _command,
    "metric": _text,
    "better": _better,
    "examples": _count,
    "batch_size": _count,
    "learning_rate": _rate,
    "batch_sizes": _sizes,
    "learning_rates": _rates,
    "seeds": _count,
    "epochs": _count,
    "steps": _count,
    "target": _text,
    "budget": _time,
    "pattern": _text,
    "config": _text,
    "cwd": _text,
}
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
assert set(_CHECKS) == set(_EXPECTED) == {field.name for field in fields(RunFile)}
