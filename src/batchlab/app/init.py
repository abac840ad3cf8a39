"""Init: a `batchlab.toml` drafted from what a script's `--help` prints; nothing is imported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchlab.errors import BatchlabError, UsageError
from batchlab.script.command import flag_of
from batchlab.script.flags import (
    Flag,
    defaults_in_source,
    drafted,
    flag_named,
    flags_in,
    help_of,
    missing_of,
    of_one_length,
)
from batchlab.script.reading import number_of
from batchlab.script.run_file import RUN_FILE_NAME

# Long enough to import a large library from a cold disk.
HELP_LIMIT_S = 60.0
_EXAMPLE = "batchlab init -- python train.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Initialized:
    """The result of `init`."""

    path: Path  # the file that was written
    found: dict[str, Flag]  # for each placeholder, the flag that takes it
    # The placeholders that a study needs and for which no flag was found.
    missing: tuple[str, ...]
    trouble: str | None  # why the output may not be a help text, in one line, or None


def init(command: Sequence[str], *, folder: Path, limit_s: float = HELP_LIMIT_S) -> Initialized:
    """Write a draft of `batchlab.toml` for a training command, as it is typed without batchlab.

    Raises:
        UsageError: there is no command, or the folder already has such a file.
        BatchlabError: the command can't be run, or the file can't be written.
    """
    path = folder / RUN_FILE_NAME
    if not command:
        raise UsageError(f"there is no command; give yours after --, as in {_EXAMPLE}")
    if path.exists():
        raise UsageError(
            f"{path} is there already, and is left as it is; move it away to have a new one drafted"
        )
    text, trouble = help_of(command, limit_s, Path.cwd())
    flags = flags_in(text)
    if not flags and trouble is None:
        trouble = (
            "what it printed for --help shows no flags that batchlab knows; it may have trained"
        )
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(drafted(command, flags))
    except OSError as error:
        raise BatchlabError(f"{path} can't be written: {error.strerror}") from None
    found = of_one_length(flags)
    return Initialized(path=path, found=found, missing=missing_of(found), trouble=trouble)


# Long enough to import a framework; a script that does not know --help is stopped then.
_SEEN_WITHIN_S = 30.0
_TRAINED_WITH = ("batch_size", "learning_rate", "epochs")


def trained_with_now(
    arguments: Sequence[str], wanted: Collection[str], place: Path, limit_s: float = _SEEN_WITHIN_S
) -> dict[str, int | float]:
    """Return the defaults of a script's own flags, by its code, or else by its `--help`."""
    flags = {name: flag_of(arguments, name) for name in _TRAINED_WITH if name in wanted}
    asked = {name: flag for name, flag in flags.items() if flag is not None}
    defaults = defaults_in_source(arguments, place, asked.values())
    found = {name: defaults.get(typed) for name, typed in asked.items()}
    if None in found.values():
        text, _ = help_of(arguments, min(_SEEN_WITHIN_S, limit_s), place)
        for name in (name for name, value in found.items() if value is None):
            flag = flag_named(text, asked[name])
            found[name] = None if flag is None else number_of(flag.default or "")
    return {
        name: value if name == "learning_rate" else int(value)
        for name, value in found.items()
        if value and value > 0 and (name == "learning_rate" or value % 1 == 0)
    }
