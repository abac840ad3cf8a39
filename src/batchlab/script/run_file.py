"""The run file, `batchlab.toml`: a training command with the facts that batchlab needs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from batchlab.errors import UsageError

# The keys of a run file: the command, its working directory (`cwd`), and options of batchlab's
# command line. A run file may write a key with - instead of _.
_KEYS = (
    *("command", "metric", "better", "examples", "batch_size", "learning_rate", "batch_sizes"),
    *("learning_rates", "seeds", "epochs", "steps", "target", "budget", "pattern", "config", "cwd"),
)


def read_run_file(path: Path) -> dict[str, Any]:
    """Return the values in the file at `path`, by key; `config` and `cwd` as absolute paths.

    Only `command` is checked here; all other values are checked where they are used.

    Raises:
        UsageError: the file can't be read, is no TOML, contains a key twice or an unknown key, or
            its command is no list of texts; the message is one line.
    """
    values: dict[str, Any] = {}
    for key, value in _parsed(path).items():
        name = key.replace("-", "_")
        if name not in _KEYS:
            raise UsageError(f"{path}: unknown key {key!r}; there are {', '.join(_KEYS)}")
        if name in values:
            raise UsageError(f"{path}: {key} is given twice, once with - and once with _")
        if name == "command" and not _is_command(value):
            words = str(value).split() or ["python", "train.py"]
            raise UsageError(
                f"{path}: command = {value!r}; expected a list of texts, as in {words}"
            )
        if name in ("config", "cwd"):
            value = (path.parent / str(value)).resolve()
        values[name] = value
    return values


def _is_command(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # invalid TOML or invalid UTF-8
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
