"""TimeLeft: how much of the expected training is done, and how long the rest will take."""

from __future__ import annotations

import time


class TimeLeft:
    """How much of the expected training is done, and how long the rest will take."""

    def __init__(self) -> None:
        """Nothing is expected yet."""
        self._expected_s: dict[str, float] = {}
        self._fraction: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._started_s = time.monotonic()

    def expect(self, trial_id: str, seconds: float) -> None:
        """Expect a trial.

        Args:
            trial_id: which one.
            seconds: that it is expected to need from where it is now.
        """
        self._expected_s[trial_id] = seconds

    def at(self, trial_id: str, fraction: float) -> tuple[float, float | None]:
        """The fraction of all work done, and the seconds left (None: too early to say)."""
        self._first.setdefault(trial_id, fraction)
        self._fraction[trial_id] = fraction
        total = sum(self._expected_s.values()) or 1.0
        done = sum(self._expected_s[name] * part for name, part in self._fraction.items())
        since = done - sum(self._expected_s[name] * part for name, part in self._first.items())
        elapsed_s = time.monotonic() - self._started_s
        left_s = elapsed_s * (total - done) / since if since > 0.02 * total else None
        return done / total, left_s
