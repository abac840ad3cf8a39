"""Invocation: one call of the command line, as passed to its command."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

# Training ends this long before the budget: writing the page takes 1 to 2 s on an idle machine and
# twice that on a busy machine, and writing only text a fraction of a second.
_REPORT_RESERVE_S = 4.0
_TEXT_RESERVE_S = 0.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """One call of the command line."""

    command_line: str  # what was typed, quoted so that it can be typed again
    started_s: float  # when the process began, by the monotonic clock
    # The training command with placeholders after `--`, or None if there is none.
    own_command: tuple[str, ...] | None = None

    def reserved_s(self, budget_s: float | None, report: Path | None) -> float:
        """Return the seconds of a budget that were spent before this call or show the results."""
        to_show_s = _TEXT_RESERVE_S
        if report is not None:
            at_most_s = math.inf if budget_s is None else 0.5 * budget_s
            to_show_s = min(_REPORT_RESERVE_S, at_most_s)
        return time.monotonic() - self.started_s + to_show_s
