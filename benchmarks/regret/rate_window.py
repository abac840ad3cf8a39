"""RateWindow: which rates of a batch size are recorded, and which of them with more seeds.

Rates are octaves of the reference rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

OCTAVES_BELOW, OCTAVES_ABOVE = 2, 2
# Cells that take up to so many times the batch size's least time get more seeds.
NEAR_TIME = 2.5
# So do cells that end within so many margins of the best end.
NEAR_MARGINS = 2.0


@dataclass(frozen=True, kw_only=True, order=True)
class CellCost:
    """What the trainings of a cell come to; the order is that of preference.

    Attributes:
        samples: mean examples to the level; a training that misses it counts as twice its length.
        shortfall: how many margins worse than the reference it ends; infinite: it failed.
        misses: of the trainings, a fraction.
    """

    samples: float
    shortfall: float
    misses: float

    @property
    def fails(self) -> bool:
        """Whether most trainings miss the level."""
        return self.misses > 0.5


def window_around(cost_of: Callable[[int], CellCost], start: int) -> tuple[int, ...]:
    """The octaves from two below the best to the first above it that fails, two at the most.

    Args:
        cost_of: trains at an octave, if that was not done yet.
        start: where the search for the best begins.
    """
    seen = {start: cost_of(start)}
    while True:
        best = best_of(seen)
        wanted = [best - 1, best + 1, best - 2]
        if best + 1 in seen and not seen[best + 1].fails:
            wanted.append(best + OCTAVES_ABOVE)
        missing = [octave for octave in wanted if octave not in seen]
        if not missing:
            return tuple(sorted([*wanted, best]))
        seen[missing[0]] = cost_of(missing[0])


def best_of(costs: Mapping[int, CellCost]) -> int:
    """The octave with the least cost; of equal ones, as where all diverge, the lowest."""
    return min(costs, key=lambda octave: (costs[octave], octave))


def near_octaves(costs: Mapping[int, CellCost], *, best_shortfall: float) -> tuple[int, ...]:
    """The octaves of a batch size that the choice may fall on: they get more seeds.

    Args:
        costs: of each octave of the window.
        best_shortfall: of the cell that ends best in the whole grid.
    """
    best = best_of(costs)
    least = costs[best]
    return tuple(
        octave
        for octave, cost in sorted(costs.items())
        if octave == best
        or (not least.fails and not cost.fails and cost.samples <= NEAR_TIME * least.samples)
        or cost.shortfall <= best_shortfall + NEAR_MARGINS
    )
