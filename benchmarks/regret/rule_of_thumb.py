"""What rules of thumb are worth that need no run at all, on the recorded whole trainings.

    python -m benchmarks.regret.rule_of_thumb

Each names a batch size and a learning rate from the user's own and from step times, for every
workload and profile of both records. Judged by all seeds: no slower to the level, and no worse at
the end than the user's own by more than the margin. A workload counts as well served where most of
its profiles are. Last, what doubling both would have given where answers stayed with the user's own
configuration.
"""

from __future__ import annotations

import gzip
import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.recorded.grid import CellKey, RecordedGrid
from benchmarks.regret.harness import head, percent, row
from benchmarks.regret.whole_habits import FREE_STEP, free_batch_size
from benchmarks.regret.whole_situation import WholeSituation, profiles_of, whole_situation
from benchmarks.regret_whole import GRIDS, LATER_GRIDS

RESULTS = Path(__file__).parents[1] / "results"
FEW = 6.0  # whole trainings, below which an answer compares single runs
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
        size = max(free_batch_size(situation), situation.reference[0])
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


Situations = Mapping[tuple[str, str], WholeSituation]
"""By workload and step times."""


def recorded() -> Situations:
    """Both records, with all step times that there are."""
    situations: dict[tuple[str, str], WholeSituation] = {}
    for path in (*sorted(GRIDS.glob("*.csv.gz")), *sorted(LATER_GRIDS.glob("*.csv.gz"))):
        grid = RecordedGrid.read(path)
        for profile in profiles_of(grid):
            name = path.name.removesuffix(".csv.gz")
            situations[name, profile] = whole_situation(grid, profile, draw=0)
    return situations


def main() -> None:
    """Print the tables."""
    situations = recorded()
    titles = ("rule", "workloads", "well served", "times as fast, median where it is")
    print(*head(*titles), sep="\n")
    for name, rule in RULES.items():
        served: dict[str, list[float | None]] = {}
        for (workload, _), situation in situations.items():
            if (cell := rule(situation)) is not None:
                served.setdefault(workload, []).append(faster(situation, cell))
        n_well = sum(2 * found.count(None) < len(found) for found in served.values())
        times = [each for found in served.values() for each in found if each is not None]
        print(row(name, str(len(served)), str(n_well), f"{statistics.median(times):.2g}"))
    print()
    titles = ("whole trainings", "answers that stayed", "doubling no slower, no worse")
    print(*head(*titles), sep="\n")
    for low, high in ((0.0, FEW), (FEW, math.inf)):
        doubled = list(where_it_stayed(situations, low, high))
        print(row(f"{low:g} to {high:g}", str(len(doubled)), percent(statistics.fmean(doubled))))


def where_it_stayed(situations: Situations, low: float, high: float) -> Iterator[bool]:
    """Whether doubling is no slower and no worse, an answer each."""
    known: dict[tuple[str, str], bool | None] = {}
    for key, situation in situations.items():
        cell = scaled(2)(situation)
        known[key] = None if cell is None else faster(situation, cell) is not None
    for file in ("regret_whole.json.gz", "regret_later.json.gz"):
        record = json.loads(gzip.decompress((RESULTS / file).read_bytes()))
        for values in record["answers"]:
            answer = dict(zip(record["columns"], values, strict=True))
            key = answer["workload"], answer["profile"]
            own = situations[key].reference
            stayed = (answer["batch_size"], answer["learning_rate"]) == own
            is_asked = answer["who"] == "advise" and low <= answer["whole_trainings"] < high
            is_good = known[key]
            if is_asked and stayed and is_good is not None:
                yield is_good


if __name__ == "__main__":
    main()
