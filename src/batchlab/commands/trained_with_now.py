"""TrainedWithNow: the batch size and rate that a script trains with now, where nobody says them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from batchlab.launching.help_text import help_of
from batchlab.launching.script_help import flags_in

# Long enough to import a framework; a script that does not know --help is stopped after it.
_LIMIT_S = 30.0
_READ: dict[str, Callable[[str], int | float]] = {"batch_size": int, "learning_rate": float}


def trained_with_now(arguments: Sequence[str], wanted: Collection[str]) -> dict[str, int | float]:
    """The defaults of a script's own flags, as its `--help` shows them.

    Args:
        arguments: the command, with placeholders.
        wanted: of "batch_size" and "learning_rate".

    Returns:
        Those whose flag stands before the placeholder in the command, and whose default is shown.

    Raises:
        BatchlabError: the command can't be run.
    """
    asked = [name for name in _READ if name in wanted and _flag_of(arguments, name)]
    if not asked:
        return {}
    text, _ = help_of(arguments, _LIMIT_S)
    flags = flags_in(text)
    found = {}
    for name in asked:
        flag = flags.get(name)
        if flag is None or flag.default is None or flag.name != _flag_of(arguments, name):
            continue
        try:
            found[name] = _READ[name](flag.default)
        except ValueError:
            continue
    return found


def _flag_of(arguments: Sequence[str], placeholder: str) -> str | None:
    """The flag that takes a placeholder in the command; None: none does."""
    for index, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if value == f"{{{placeholder}}}":
            return flag
        if argument == f"{{{placeholder}}}" and index:
            return arguments[index - 1]
    return None
