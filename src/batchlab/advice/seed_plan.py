"""SeedPlan: which seeds choose the rate, which value the choice, which verify the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedPlan:
    """Which seeds choose the rate, which value the choice, which verify the recommendation.

    The best of many noisy runs looks better than it is, so no seed does two of these.
    """

    tune: tuple[int, ...]
    value: tuple[int, ...]
    verify: tuple[int, ...]

    @classmethod
    def of(cls, n_seeds: int | None) -> SeedPlan:
        """Shares out `n_seeds` seeds, at least 4; None: as many as may be needed."""
        if n_seeds is None:
            return cls(tune=(0, 1, 2, 3), value=tuple(range(10, 74)), verify=tuple(range(80, 128)))
        n_tune, n_verify = (2 if n_seeds >= 6 else 1), min(3, max(1, n_seeds // 3))
        return cls(
            tune=tuple(range(n_tune)),
            value=tuple(range(n_tune, n_seeds - n_verify)),
            verify=tuple(range(n_seeds - n_verify, n_seeds)),
        )

    def verifying_with_one(self) -> SeedPlan:
        """The plan in which all but one of the seeds that verify value instead."""
        return replace(self, value=(*self.value, *self.verify[1:]), verify=self.verify[:1])
