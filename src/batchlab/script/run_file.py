"""RunFile: `batchlab.toml`, a training command with what batchlab has to know, and its draft."""

from __future__ import annotations

import difflib
import json
import math
import shlex
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from batchlab.errors import UsageError
from batchlab.script.check import NAMES, Flag, plain_flag
from batchlab.script.reading import number_of

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


_WHY = {
    "batch_size": "needed: nothing can be compared without it",
    "learning_rate": "needed to tune the rate of each batch size",
    "seed": "needed to tell a better batch size from luck",
    "epochs": "or {steps}: how long it trains; without it each run has its own length",
    "steps": "or {epochs}: how long it trains, in updates",
    "output_dir": "so that runs side by side don't write into one folder",
    "resume_from": "so that a longer run need not start again",
}
_HEAD = """\
# How batchlab runs your training. Check every line, above all the metric.

# The program and its arguments, one by one: there is no shell between them. batchlab puts a value
# in the place of each {name}.
command = ["""
_METRIC = """\
]

# What your script prints, by the name that it prints, and which values are better.
metric = "val_loss"
better = "lower"  # or "higher"
"""
_TAIL = """\
# examples = 50000  # training examples in an epoch: needed where only epochs are printed
# pattern = 'step (?P<step>\\d+) val_loss (?P<val_loss>\\S+)'  # where lines are not recognized
# budget = "30m"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFileDraft:
    """A draft, and what is to be added to it.

    Attributes:
        text: of the file.
        found: by placeholder the flag that takes it.
        missing: the placeholders that no flag was found for, of those that a study needs.
    """

    text: str
    found: dict[str, Flag]
    missing: tuple[str, ...]


def drafted(command: Sequence[str], flags: dict[str, Flag]) -> RunFileDraft:
    """The draft for a command.

    Args:
        command: as it is typed now, with or without flags for the values that change.
        flags: by placeholder, as `flags_in` finds them.
    """
    arguments, given = _without(command, flags)
    used = dict(flags)
    if "epochs" in used and "steps" in used:
        del used["steps"]  # one of them says how long; epochs are the same for every batch size
    lines = [*_lines_of(arguments), *_lines_with_values(used), *_lines_to_add(used)]
    now = {
        name: given.get(name, flag.default)
        for name, flag in used.items()
        if name in ("batch_size", "learning_rate", "epochs")
    }
    text = "\n".join([_HEAD, *lines]) + "\n" + _METRIC + _now_text(now) + _TAIL
    return RunFileDraft(text=text, found=used, missing=_missing(used))


def _missing(used: dict[str, Flag]) -> tuple[str, ...]:
    lengths = {"epochs", "steps"}
    has = used.keys() | (lengths if lengths & used.keys() else set())
    return tuple(name for name in NAMES if name not in has)


def _without(command: Sequence[str], flags: dict[str, Flag]) -> tuple[list[str], dict[str, str]]:
    """The command without the values that will change, and these values by placeholder."""
    by_name = {plain_flag(flag.name): name for name, flag in flags.items()}
    kept: list[str] = []
    given: dict[str, str] = {}
    rest = list(command)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        placeholder = by_name.get(plain_flag(name))
        is_typed = name.startswith("-") or bool(equals)
        if placeholder is None or not is_typed:
            kept.append(argument)
        elif equals:
            given[placeholder] = value
        elif rest:
            given[placeholder] = rest.pop(0)
    return kept, given


def _lines_of(arguments: list[str]) -> list[str]:
    return [f"    {', '.join(_quoted(argument) for argument in arguments)},"] if arguments else []


def _lines_with_values(used: dict[str, Flag]) -> list[str]:
    return [
        f"    {', '.join(_quoted(argument) for argument in flag.arguments(name))},"
        for name, flag in used.items()
    ]


def _lines_to_add(used: dict[str, Flag]) -> list[str]:
    missing = _missing(used)
    if not missing:
        return []
    head = "    # No flag was found for these. Where your script has one, add it as above:"
    return [head, *(f'    # "--...={{{name}}}",  # {_WHY[name]}' for name in missing)]


def _now_text(now: dict[str, str | None]) -> str:
    """What the script is trained with now, as far as the command or the help say it."""
    lines = ["", "# What you train with now; the answer is compared with it."]
    for name, example in (("batch_size", "64"), ("learning_rate", "0.001"), ("epochs", "10")):
        value = number_of(now.get(name) or "")
        is_count = name != "learning_rate"
        if value is None or not value > 0 or (is_count and value != int(value)):
            lines.append(f"# {name} = {example}")
        else:
            lines.append(f"{name} = {int(value) if is_count else repr(value)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text as TOML: JSON's are the same but for the sign of deletion."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
