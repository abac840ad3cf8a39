"""TrainedWithNow: the batch size and rate that a script trains with now, where nobody says them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from batchlab.launching.help_text import help_of
from batchlab.launching.script_help import flag_named

# Long enough to import a framework; a script that does not know --help is stopped after it.
_LIMIT_S = 30.0
# Of a budget it takes no more: a script that does not know --help begins to train.
_BUDGET_SHARE = 0.25
_READ: dict[str, Callable[[str], int | float]] = {"batch_size": int, "learning_rate": float}


def trained_with_now(
    arguments: Sequence[str], wanted: Collection[str], *, budget_s: float | None
) -> dict[str, int | float]:
    """The defaults of a script's own flags, as its `--help` shows them.

    Args:
        arguments: the command, with placeholders.
        wanted: of "batch_size" and "learning_rate".
        budget_s: of the whole call, in seconds; None: there is no end.

    Returns:
        Those that follow a flag in the command, where its default is shown. Without a flag before
        one of them nothing is run.

    Raises:
        BatchlabError: the command can't be run.
    """
    flags = {name: _flag_of(arguments, name) for name in _READ if name in wanted}
    asked = {name: flag for name, flag in flags.items() if flag is not None}
    if not asked:
        return {}
    limit_s = _LIMIT_S if budget_s is None else min(_LIMIT_S, _BUDGET_SHARE * budget_s)
    text, _ = help_of(arguments, limit_s)
    found = {}
    for name, typed in asked.items():
        flag = flag_named(text, typed)
        if flag is None or flag.default is None:
            continue
        try:
            found[name] = _READ[name](flag.default)
        except ValueError:
            continue
    return found


def _flag_of(arguments: Sequence[str], placeholder: str) -> str | None:
    """The flag that takes a placeholder: `--lr`, or `optim.lr` of optim.lr=...; None: none does."""
    for index, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if value == f"{{{placeholder}}}" and flag:
            return flag
        if argument == f"{{{placeholder}}}" and index and arguments[index - 1].startswith("-"):
            return arguments[index - 1]
    return None
