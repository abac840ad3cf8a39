"""Invocation: one call of the command line, as its command is told of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

# What a budget leaves for training ends so much earlier: writing the page takes 1 to 2 s on an idle
# machine and twice that on a busy one, the text alone a fraction of a second.
_REPORT_RESERVE_S = 4.0
_TEXT_RESERVE_S = 0.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """One call of the command line.

    Attributes:
        command_line: what was typed, quoted so that it can be typed again.
        started_s: when the process began, by the monotonic clock.
        own_command: what stood after `--`: a training command with placeholders; None: nothing.
    """

    command_line: str
    started_s: float
    own_command: tuple[str, ...] | None = None

    def elapsed_s(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self.started_s

    def reserved_s(self, budget_s: float | None, report: Path | None) -> float:
        """What of a budget is gone already, and what showing the results will take."""
        to_show_s = _TEXT_RESERVE_S
        if report is not None:
            at_most_s = math.inf if budget_s is None else 0.5 * budget_s
            to_show_s = min(_REPORT_RESERVE_S, at_most_s)
        return self.elapsed_s() + to_show_s
