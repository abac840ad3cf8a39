"""RaceSizes: to which batch sizes a race goes, away from the reference's and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

# The first batch size, in times the reference's.
_FIRST_TIMES = 8
# A larger batch size that does not process so many times the examples a second is not raced, and a
# smaller one is where it does not process so many times fewer.
_HARDLY_FASTER = 1.25


@dataclass(frozen=True, kw_only=True, slots=True)
class RaceSizes:
    """The batch sizes of one race.

    It begins at eight times the reference batch size, where a training costs little on most
    machines. Where a batch of that size takes about eight times as long, a larger one has nothing
    to win. Then it begins at an eighth, and keeps to sizes that process as many examples a second.

    Attributes:
        own: the reference batch size.
        sizes: those that it may go to.
        first: where it begins; `own` where neither larger nor smaller ones may win.
        is_upward: whether it goes to larger batch sizes.
    """

    own: int
    sizes: tuple[int, ...]
    first: int
    is_upward: bool

    @classmethod
    def of(cls, own: int, cost_per_step: Mapping[int, float]) -> RaceSizes:
        """The sizes of a race from `own`.

        Args:
            own: the reference batch size, one of those in `cost_per_step`.
            cost_per_step: by batch size, such as seconds.
        """
        # How many examples are processed for the cost of one at the reference batch size.
        speed = {
            size: size / own * cost_per_step[own] / cost for size, cost in cost_per_step.items()
        }
        first = _nearest(speed, _FIRST_TIMES * own)
        if speed[first] >= _HARDLY_FASTER:
            return cls(own=own, sizes=tuple(speed), first=first, is_upward=True)
        as_fast = tuple(s for s in speed if s <= own and speed[s] > 1 / _HARDLY_FASTER)
        first = _nearest(as_fast, own / _FIRST_TIMES)
        return cls(own=own, sizes=as_fast, first=first, is_upward=False)

    def nearer(self, size: int, *, without: Collection[int], is_far: bool) -> int | None:
        """A batch size half as far from the reference's, or a quarter; None: there is none left.

        Args:
            size: where the race is.
            without: sizes that were raced.
            is_far: whether it ended far worse there.
        """
        apart = self._apart(size)
        left = [s for s in self.sizes if 1 < self._apart(s) < apart and s not in without]
        return self._nearest_at(left, apart / (4 if is_far and apart >= _FIRST_TIMES else 2))

    def further(self, size: int, times: float, *, without: Collection[int]) -> int | None:
        """A batch size about so many times as far from the reference's; None: there is none left.

        Args:
            size: where the race is.
            times: how much further, > 1.
            without: sizes that were raced.
        """
        apart = self._apart(size)
        left = [s for s in self.sizes if self._apart(s) > apart and s not in without]
        return self._nearest_at(left, times * apart)

    def _apart(self, size: int) -> float:
        """How many times the reference's it is, or of how many it is one part."""
        return size / self.own if self.is_upward else self.own / size

    def _nearest_at(self, sizes: Collection[int], apart: float) -> int | None:
        wanted = self.own * apart if self.is_upward else self.own / apart
        return _nearest(sizes, wanted) if sizes else None


def _nearest(sizes: Iterable[int], wanted: float) -> int:
    return min(sizes, key=lambda size: (abs(math.log(size / wanted)), size))
