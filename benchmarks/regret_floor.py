"""How far would a planner be behind that had trained every configuration once?

    python -m benchmarks.regret_floor [--seeds 1 3]

On the questions of `regret_whole` whose user has a good rate: of all recorded configurations it
names the fastest to the level that the same seeds of the reference set, of those that end at most a
margin worse on them. No advice of three or six trainings can see as much. What is left is the luck
of few seeds, in what is named and in the reference.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product

from benchmarks.recorded.grid import CellKey, RecordedGrid
from benchmarks.regret.harness import both, head, row
from benchmarks.regret.whole_level import level_of
from benchmarks.regret.whole_situation import WholeSituation, profiles_of, whole_situation
from benchmarks.regret.whole_table import CHOSEN_ON, WholeAnswer, share_worse_for_sure, whole_bins
from benchmarks.regret_whole import BUDGETS, Reply, answer_to, path_of

from batchlab.errors import TrialError

_PROFILES, _OCTAVES, _DRAWS = ("cpu", "flat to 256"), (-1, 0), (0, 1)


def named(situation: WholeSituation, n_seeds: int) -> CellKey:
    """Return the best configuration by the first seeds of each."""
    grid, header, own = situation.grid, situation.header, situation.reference
    metric, better = header.metric, header.better
    seen = {
        cell: [s for s in situation.seen if s in grid.cells[cell]][:n_seeds] for cell in grid.cells
    }
    level = level_of(
        [grid.runs[*own, seed].curve for seed in seen[own]],
        metric=metric,
        better=better,
        keeps_best=header.keeps_best,
    )
    times = {own: situation.time_s(own, seen[own], level.target)}
    for cell, seeds in seen.items():
        end = situation.end(cell, seeds)
        if end is not None and level.shortfall(end, beside=level.end) <= 1:
            times[cell] = situation.time_s(cell, seeds, level.target)
    return min(times, key=lambda cell: (times[cell], cell))


def answers(workload: str, n_seeds: int) -> Iterator[WholeAnswer]:
    """Yield what it would name for each question, valued as an advice is."""
    grid = RecordedGrid.read(path_of(workload))
    profiles = [name for name in _PROFILES if name in profiles_of(grid)]
    for profile, octaves, draw in product(profiles, _OCTAVES, _DRAWS):
        try:
            drawn = whole_situation(grid, profile, draw=draw).with_rate(octaves)
        except TrialError:
            continue
        cell = named(drawn, n_seeds)
        named_as = "reference" if cell == drawn.reference else "named"
        for budget in BUDGETS:
            budget_s = budget * drawn.tuned_reference_s
            reply = Reply(cell=cell, spent_s=budget_s, named_as=named_as)
            yield answer_to(drawn, reply, who="floor", draw=draw, budget_s=budget_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3])
    given = parser.parse_args()
    columns = "median / 90th percentile", "named", "surely worse"
    lines = head("seeds of every configuration, whole trainings", *columns)
    for n_seeds in given.seeds:
        found = [each for workload in CHOSEN_ON for each in answers(workload, n_seeds)]
        for name, some in whole_bins(found):
            other = [each for each in some if each.named_as == "named"]
            regret, worse = both([each.regret for each in some]), share_worse_for_sure(other)
            lines.append(row(f"{n_seeds}, {name}", regret, str(len(other)), worse))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
