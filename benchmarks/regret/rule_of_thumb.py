"""What rules of thumb are worth that need no run at all, on the recorded whole trainings.

    python -m benchmarks.regret.rule_of_thumb

Each names a batch size and a learning rate from the user's own and from step times, for every
workload and profile of both records. Judged by all seeds: no slower to the level, and no worse at
the end than the user's own by more than the margin. A workload counts as well served where most of
its profiles are.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping

from benchmarks.recorded.grid import CellKey, RecordedGrid
from benchmarks.regret.harness import GRIDS, LATER_GRIDS, head, row
from benchmarks.regret.whole_situation import WholeSituation, profiles_of, whole_situation

# A larger batch is free while its step takes at most this many times as long.
FREE_STEP = 1.5

Rule = Callable[[WholeSituation], CellKey | None]


def scaled(times: int) -> Rule:
    """So many times the batch size and the rate, where such a step takes at most 1.5 times as long.

    None: it takes longer, or was not recorded.
    """

    def rule(situation: WholeSituation) -> CellKey | None:
        size, own_s = times * situation.reference[0], situation.step_s[situation.reference[0]]
        if situation.step_s.get(size, math.inf) > FREE_STEP * own_s:
            return None
        return nearest(situation, size, times * situation.reference[1])

    return rule


def free(power: float) -> Rule:
    """The largest whose step takes at most 1.5 times the smallest's, its rate by a power of it."""

    def rule(situation: WholeSituation) -> CellKey | None:
        step_s = situation.step_s
        most_s = FREE_STEP * step_s[min(step_s)]
        size = max(size for size in step_s if step_s[size] <= most_s)
        size = max(size, situation.reference[0])
        larger = size / situation.reference[0]
        return nearest(situation, size, situation.reference[1] * larger**power)

    return rule


def nearest(situation: WholeSituation, batch_size: int, learning_rate: float) -> CellKey:
    """The recorded rate that is nearest, an octave from the next."""
    rates = situation.grid.learning_rates(batch_size)
    return batch_size, min(rates, key=lambda rate: abs(math.log(rate / learning_rate)))


RULES: Mapping[str, Rule] = {
    "twice the batch size, twice the rate": scaled(2),
    "4 times both": scaled(4),
    "8 times both": scaled(8),
    "the largest free one, rate in proportion": free(1.0),
    "the largest free one, rate by the square root": free(0.5),
}


def faster(situation: WholeSituation, cell: CellKey) -> float | None:
    """How many times as fast as the user's own; None: it is slower, or ends worse."""
    seeds = situation.grid.seeds
    times = situation.time_s(situation.reference, seeds) / situation.time_s(cell, seeds)
    return times if times >= 1 and situation.shortfall_of_own(cell, seeds) <= 1 else None


def main() -> None:
    """Print the tables."""
    situations: list[WholeSituation] = []
    for path in GRIDS + LATER_GRIDS:
        grid = RecordedGrid.read(path)
        situations += [whole_situation(grid, profile, draw=0) for profile in profiles_of(grid)]
    titles = ("rule", "workloads", "well served", "times as fast, median where it is")
    print(*head(*titles), sep="\n")
    for name, rule in RULES.items():
        served: dict[str, list[float | None]] = {}
        for situation in situations:
            workload = situation.header.workload
            if (cell := rule(situation)) is not None:
                served.setdefault(workload, []).append(faster(situation, cell))
        n_well = sum(2 * found.count(None) < len(found) for found in served.values())
        times = [each for found in served.values() for each in found if each is not None]
        print(row(name, str(len(served)), str(n_well), f"{statistics.median(times):.2g}"))


if __name__ == "__main__":
    main()
