"""What a launcher of several processes says after one of them failed, told from what that one said.

torchrun ends with forty lines about itself; the error of the training stands before them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TRACEBACK = "Traceback (most recent call last):"
# The frames by which the traceback of a launcher is known from that of a script.
_LAUNCHER_FRAME = re.compile(r'File ".*\b(torch/distributed/run|accelerate/commands/launch)\.py"')
_LAUNCHER_LOG = re.compile(r"^[WEI]\d{4} .*\btorch/distributed/(run|elastic/.*)\.py:\d+\]")
_OF_A_RANK = re.compile(r"^\[rank\d+\]: ")


def without_launcher_words(lines: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the processes of a training said, and what their launcher said.

    What other processes said after the error of one is left out: they were ended for it.

    Args:
        lines: the end of an output, cleaned for showing.

    Returns:
        The lines of the training, and those of the launcher. Of an output without a launcher, or
        with nothing beside its words, the first are all and the second none.
    """
    begins = [i for i, line in enumerate(lines) if line == _TRACEBACK]
    end = next((i for i in begins if _is_launchers(lines, i)), len(lines))
    own = [line for line in lines[:end] if not _LAUNCHER_LOG.match(line)]
    errors = [i for i, line in enumerate(own) if _OF_A_RANK.match(line)]
    own = own[: errors[-1] + 1] if errors else own
    if end == len(lines) or not own:
        return tuple(lines), ()
    return tuple(own), tuple(lines[end:])


def _is_launchers(lines: Sequence[str], begin: int) -> bool:
    """Whether the traceback that begins there is a launcher's: it is the last in the output."""
    rest = lines[begin + 1 :]
    return _TRACEBACK not in rest and any(_LAUNCHER_FRAME.search(line) for line in rest)
