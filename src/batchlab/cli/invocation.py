"""Invocation: what a command needs to know about its call on the command line."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

# Training stops this many seconds before the budget ends, to leave time for the results: a page
# takes 1 to 2 s on an idle machine, 2 to 4 s on a busy machine, and text a fraction of a second.
_REPORT_RESERVE_S = 4.0
_TEXT_RESERVE_S = 0.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """One call of the command line, as passed to the called command."""

    command_line: str  # the typed command, quoted so that it can be pasted
    started_s: float  # the start of the process, by `time.monotonic()`
    # The training command after `--`, with placeholders; None if there is no `--`.
    own_command: tuple[str, ...] | None = None

    def reserved_s(self, budget_s: float | None, report: Path | None) -> float:
        """Return the seconds used since the process started plus seconds to show the results."""
        to_show_s = _TEXT_RESERVE_S
        if report is not None:
            at_most_s = math.inf if budget_s is None else 0.5 * budget_s
            to_show_s = min(_REPORT_RESERVE_S, at_most_s)
        return time.monotonic() - self.started_s + to_show_s
