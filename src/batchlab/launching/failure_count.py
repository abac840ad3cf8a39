"""FailureCount: whether commands keep failing in the same way, so that a study should stop."""

from __future__ import annotations

import re
from collections import Counter

from batchlab.launching.command_end import CommandEnd
from batchlab.records.reason import Reason
from batchlab.records.trial import Status

ENOUGH = 3
# What differs between two runs of one failure: paths, addresses, numbers.
_VARIES = re.compile(r"(?:[\w.~-]*/)+[\w.-]*|0x[0-9a-fA-F]+|\d+")


class FailureCount:
    """Counts failures of the same kind: the same end, the same last line but for its numbers."""

    def __init__(self) -> None:
        """Begin with none."""
        self._seen: Counter[object] = Counter()

    def add(self, end: CommandEnd, told: Reason | None = None) -> Reason | None:
        """Count one end.

        Args:
            end: of the command.
            told: what was wrong with what it told, where that is why the training failed.

        Returns:
            Why the study should stop; show `end.last_lines` with it. None: it may go on. Memory
            that ran out never stops a study: a smaller batch size may fit. An end that batchlab
            asked for is no failure.
        """
        if told is not None:
            kind: tuple[object, ...] = (told.code, _VARIES.sub("#", repr(told.values)))
            return self._counted(kind, told)
        if end.was_asked or end.reason is None or end.status == Status.OOM:
            return None
        last = end.last_lines[-1] if end.last_lines else ""
        kind = (end.exit_code, end.signal, end.reason.code, _VARIES.sub("#", last))
        return self._counted(kind, end.reason)

    def _counted(self, kind: tuple[object, ...], why: Reason) -> Reason | None:
        self._seen[kind] += 1
        if self._seen[kind] < ENOUGH:
            return None
        return Reason.of("same_failure_again", n=self._seen[kind], why=why)
