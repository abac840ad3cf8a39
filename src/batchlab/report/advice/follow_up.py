"""FollowUp: the command that goes on with a study, whole, to be copied."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

# Both say how much is spent: one takes the place of the other.
_AMOUNTS = frozenset({"--budget", "--trainings"})


def follow_up(command: str, options: Mapping[str, str]) -> str:
    """The command that asked, with other values of some options.

    Args:
        command: as it was typed; of a call in Python only the arguments are returned, for what
            else was given is not known.
        options: their values by name, "--budget" say.
    """
    new = [part for option in options.items() for part in option]
    if not command.startswith("batchlab "):
        return ", ".join(map(_argument, options, options.values()))
    replaced = {*options, *(_AMOUNTS if _AMOUNTS & options.keys() else ())}
    words = iter(shlex.split(command))
    kept = []
    for word in words:
        name, is_joined, _ = word.partition("=")
        if name not in replaced:
            kept.append(word)
        elif not is_joined:
            next(words, None)  # its value
    return shlex.join([*kept, *new])


def _argument(option: str, value: str) -> str:
    """The option as an argument of `batchlab.advise`."""
    given = {
        "--budget": f'"{value}"',
        "--target": '("{0}", {2})'.format(*value.rpartition("=")),
    }
    return f"{option.removeprefix('--')}={given.get(option, value)}"
