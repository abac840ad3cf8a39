"""RunFileDraft: a `batchlab.toml` to edit, from a command and the flags that its help shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.launching.plain_number import number_of
from batchlab.launching.script_help import NAMES, Flag, plain_flag

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
