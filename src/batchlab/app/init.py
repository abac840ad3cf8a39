"""Init: a draft of `batchlab.toml` made from a script's `--help`, without importing the script."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from batchlab.errors import BatchlabError, UsageError
from batchlab.script.command import flag_of
from batchlab.script.flags import Draft, ScriptCode, drafted, flag_named, help_of
from batchlab.script.reading import number_of
from batchlab.script.run_file import RUN_FILE_NAME

# Long enough to import a large library from a cold disk.
HELP_LIMIT_S = 60.0
_EXAMPLE = "batchlab init -- python train.py"


def init(command: Sequence[str], *, folder: Path, limit_s: float = HELP_LIMIT_S) -> Draft:
    """Write and return a draft of `batchlab.toml` for a training command as it is typed now.

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
    draft = drafted(command, *help_of(command, limit_s, Path.cwd()))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(draft.text)
    except OSError as error:
        raise BatchlabError(f"{path} can't be written: {error.strerror}") from None
    return draft


# Long enough to import a framework; then stop a script that trains because it has no --help.
_SEEN_WITHIN_S = 30.0
_TRAINED_WITH = ("batch_size", "learning_rate", "epochs")


def trained_with_now(
    code: ScriptCode, wanted: Collection[str], limit_s: float = _SEEN_WITHIN_S
) -> dict[str, int | float]:
    """Return the defaults of a script's flags, read from its code, or else from its `--help`."""
    typed = {name: flag_of(code.arguments, name) for name in _TRAINED_WITH if name in wanted}
    defaults = {name: code.default(flag) for name, flag in typed.items() if flag is not None}
    if None in defaults.values():
        text, _ = help_of(code.arguments, min(_SEEN_WITHIN_S, limit_s), code.place)
        for name, value in defaults.items():
            if value is not None:
                continue
            flag = flag_named(text, str(typed[name]))
            if flag is not None:
                defaults[name] = number_of(flag.default or "")
    trained_with: dict[str, int | float] = {}
    for name, value in defaults.items():
        if value and value > 0 and name == "learning_rate":
            trained_with[name] = value
        elif value and value > 0 and value % 1 == 0:
            trained_with[name] = int(value)
    return trained_with
