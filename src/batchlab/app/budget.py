"""Budget: a limit on the time of one whole call, and what is left of it."""

from __future__ import annotations

import math
import time

from batchlab.errors import BudgetError

# The part of a budget that is kept to read what child processes stored, after they have ended.
RECORDING_S = 0.3


class Budget:
    """A limit on the time of one whole call, counted from the creation of this object."""

    def __init__(self, seconds: float | None, *, reserved_s: float = 0.0) -> None:
        """Start counting."""
        self.started_s = time.monotonic()
        self.seconds: float | None = None  # the limit, or None as long as none is set
        # The `time.monotonic()` at which the limit less `reserved_s` ends; None without a limit.
        self.deadline_s: float | None = None
        self._reserved_s = reserved_s
        if seconds is not None:
            self.limit(seconds)
        self.asked_s = seconds  # the limit given at creation, or None

    def limit(self, seconds: float) -> None:
        """Set the limit, which may depend on what was measured first."""
        self.seconds = seconds
        self.deadline_s = self.started_s + seconds - self._reserved_s

    @property
    def allowed_s(self) -> float:
        """The limit, which must have been set."""
        assert self.seconds is not None
        return self.seconds

    @property
    def work_ends_s(self) -> float | None:
        """The `time.monotonic()` by which child processes have to end, or None without a limit."""
        return None if self.deadline_s is None else self.deadline_s - RECORDING_S

    def elapsed_s(self) -> float:
        """Return the seconds since this budget was created."""
        return time.monotonic() - self.started_s

    def time_limit_s(self, at_most_s: float = math.inf) -> float:
        """Return the seconds left for work, at least 0 and at most `at_most_s`."""
        if self.work_ends_s is None:
            return at_most_s
        return min(at_most_s, max(0.0, self.work_ends_s - time.monotonic()))

    def refuse_if_out_of_time(self, doing: str) -> None:
        """Refuse to continue if no time is left."""
        if self.time_limit_s() <= 0:
            raise self.ended(f"while {doing}, before any training")

    def ended(self, when: str) -> BudgetError:
        """Return the error for a budget that was too small."""
        return BudgetError(f"budget {self.seconds:.3g} s: it ended {when}; give a larger --budget")
