"""Contention: how much of the machine something else used, while a command was timed."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from batchlab.records.reason import Reason

SHORTEST_S = 0.5
"""The kernel counts in hundredths of a second; a shorter time says nothing."""
MOST_OTHERS_FRACTION = 0.05
"""Of the time of all cores: on eight cores 0.4 of one. Less is hard to tell from the rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineTimes:
    """The CPU time that went by on this machine until a moment, and how much of it was ours.

    Attributes:
        at_s: the moment, on the monotonic clock.
        busy_s: seconds in which cores worked, all cores together; what a hypervisor took counts.
        ours_s: of this process, of all below it, and of those of them that have ended.
        n_cores: cores of the machine.
    """

    at_s: float
    busy_s: float
    ours_s: float
    n_cores: int

    @classmethod
    def now(cls) -> MachineTimes:
        """Read them; takes a few milliseconds, so do it before and after what is timed."""
        times = psutil.cpu_times()._asdict()
        # The system counts a guest's time twice, and waiting for a disk is no work.
        idle = ("idle", "iowait", "guest", "guest_nice")
        return cls(
            at_s=time.monotonic(),
            busy_s=sum(spent_s for kind, spent_s in times.items() if kind not in idle),
            ours_s=_own_s(),
            n_cores=psutil.cpu_count() or 1,
        )


def others_fraction(before: MachineTimes, after: MachineTimes) -> float | None:
    """How much of all cores' time between two moments something else used.

    Args:
        before: the first moment.
        after: the second.

    Returns:
        A fraction of the time of all cores: on two cores, 0.5 is one core. Not clamped: about a
        hundredth below 0 is possible, for the kernel rounds the two counts differently. None: the
        time between is too short to tell.
    """
    elapsed_s = after.at_s - before.at_s
    if elapsed_s < SHORTEST_S:
        return None
    others_s = (after.busy_s - before.busy_s) - (after.ours_s - before.ours_s)
    return others_s / (elapsed_s * after.n_cores)


def something_else_ran(before: MachineTimes, after: MachineTimes) -> Reason | None:
    """What to say if something else used more than a twentieth of the machine; None: it did not."""
    fraction = others_fraction(before, after)
    if fraction is None or fraction <= MOST_OTHERS_FRACTION:
        return None
    return Reason.of("something_else_ran", fraction=fraction)


def _own_s() -> float:
    own = psutil.Process()
    total_s = 0.0
    for process in [own, *own.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue  # it has just ended: its parent has its time
        total_s += times.user + times.system + times.children_user + times.children_system
    return total_s
