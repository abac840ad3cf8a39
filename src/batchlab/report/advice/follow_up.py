"""FollowUp: the command that goes on with a study, whole, to be copied."""

from __future__ import annotations

from collections.abc import Mapping

from batchlab.report.parts.stored_command import StoredCommand

# Both say how much is spent: one takes the place of the other.
_AMOUNTS = frozenset({"--budget", "--trainings"})


def follow_up(command: str, options: Mapping[str, str]) -> str:
    """The command that asked, with other values of some options.

    Args:
        command: as it was typed; of a call in Python only the arguments are returned, for what
            else was given is not known.
        options: their values by name, "--budget" say.
    """
    stored = StoredCommand.of(command)
    if stored is None:
        return ", ".join(map(_argument, options, options.values()))
    replaced = _AMOUNTS if _AMOUNTS & options.keys() else frozenset()
    return stored.varied(leave_out=replaced, options=options)


def _argument(option: str, value: str) -> str:
    """The option as an argument of `batchlab.advise`."""
    given = {
        "--budget": f'"{value}"',
        "--target": '("{0}", {2})'.format(*value.rpartition("=")),
    }
    return f"{option.removeprefix('--')}={given.get(option, value)}"
