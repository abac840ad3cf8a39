"""Placeholders: `{batch_size}` and its like, in a command or in a configuration file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

from batchlab.errors import UsageError

COUNTS = ("batch_size", "micro_batch_size", "accumulation_steps", "seed", "epochs", "steps")
RATES = ("learning_rate",)
PATHS = ("output_dir", "resume_from", "config")
PLACEHOLDERS = (*COUNTS[:3], *RATES, *COUNTS[3:], *PATHS)
Value = int | float | str | Path

# What other programs call them.
_ELSEWHERE = {
    "lr": "learning_rate",
    "rate": "learning_rate",
    "bs": "batch_size",
    "batch": "batch_size",
    "micro_batch": "micro_batch_size",
    "grad_accum": "accumulation_steps",
    "gradient_accumulation_steps": "accumulation_steps",
    "epoch": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "max_steps": "steps",
    "output": "output_dir",
    "out_dir": "output_dir",
    "resume": "resume_from",
    "checkpoint": "resume_from",
    "config_file": "config",
}
# `${name}` belongs to a shell or to Hydra; `{{name}}` stands for the text `{name}`. Braces around
# anything but a lower-case name, as in JSON, are text.
_PLACEHOLDER = re.compile(r"(?P<kept>\$\{[^}]*\}|\{\{[a-z_]\w*\}\})|\{(?P<name>[a-z_][a-z0-9_]*)\}")


def placeholders_in(text: str, *, where: str) -> list[str]:
    """The names of the placeholders in a text, in order.

    Args:
        text: an argument, or a file's text.
        where: what the text is, for the message.

    Raises:
        UsageError: one of them is unknown; the message says which may be meant.
    """
    names = [match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"]]
    for name in names:
        if name not in PLACEHOLDERS:
            raise UsageError(f"unknown placeholder {{{name}}} in {where}: {_meant(name)}")
    return names


def with_values(text: str, written: Callable[[str, int, int], str]) -> str:
    """The text with its placeholders replaced.

    Args:
        text: with placeholders that `placeholders_in` knows.
        written: what takes the place of one: of its name, and where it begins and ends in `text`.
    """

    def replaced(match: re.Match[str]) -> str:
        kept: str | None = match["kept"]
        if kept is None:
            return written(match["name"], match.start(), match.end())
        return kept[1:-1] if kept.startswith("{") else kept

    return _PLACEHOLDER.sub(replaced, text)


def written_value(name: str, value: Value | None) -> str:
    """A value so that Python and argparse read back exactly the same.

    Raises:
        UsageError: there is no value, or one that is no count for a placeholder that is one.
    """
    if value is None:
        raise UsageError(f"there is no value for {{{name}}} here; leave it out of the command")
    if name in COUNTS:
        count = int(value) if not isinstance(value, str | Path) else None
        if count is None or count != value:
            raise UsageError(f"{{{name}}} is a whole number, not {value!r}")
        return str(count)
    if name in RATES:
        return repr(float(value)) if not isinstance(value, Path) else str(value)
    return str(value)


def _meant(name: str) -> str:
    near = difflib.get_close_matches(name, PLACEHOLDERS, n=1)
    meant = _ELSEWHERE.get(name, next(iter(near), None))
    if meant is not None:
        return f"did you mean {{{meant}}}? For the text itself write {{{{{name}}}}}"
    known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
    return f"there are {known}; for the text itself write {{{{{name}}}}}"
