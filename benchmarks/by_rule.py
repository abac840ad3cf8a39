"""What a larger batch size at a rate by rule is worth on the recorded trainings, without a run.

    python benchmarks/by_rule.py

For each recorded workload and its step times: the reference batch size times 2, 4 and 8, and the
largest whose step takes at most 1.5 times the reference's, each at the reference rate and at that
rate times as much (the linear rule). Valued on all seeds. Where that rate was not recorded within
half an octave the rule has no answer for the workload.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from regret.nearest_cell import nearest_cell
from regret.table_parts import head, percent, quantile, row
from regret.whole_situation import WholeSituation, profiles_of, whole_situation

from batchlab.engines.recorded_grid import CellKey, RecordedGrid

GRIDS = Path(__file__).parent / "regret" / "whole"
_FREE = 1.5
_HALF_AN_OCTAVE = math.sqrt(2)
# Of the time as it is: beyond rounding.
_SLOWER = 1.05


def _times(factor: int) -> Callable[[WholeSituation], int]:
    return lambda situation: factor * situation.reference[0]


def _largest_free(situation: WholeSituation) -> int:
    step_s = situation.step_s
    most_s = _FREE * step_s[situation.reference[0]]
    return max(size for size in step_s if step_s[size] <= most_s)


SIZES: Mapping[str, Callable[[WholeSituation], int]] = {
    "twice the batch": _times(2),
    "4 times": _times(4),
    "8 times": _times(8),
    "the largest whose step takes at most 1.5 times as long": _largest_free,
}
RATES: Mapping[str, float] = {"the same rate": 0.0, "as many times the rate": 1.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class ByRule:
    """What one rule gives on one workload and its step times.

    Attributes:
        size: which batch size, in words.
        rate: which rate, in words.
        workload: the recorded workload.
        of_own: seconds to the level over those of the reference as it is; infinite: it misses it.
        regret: how much longer than the fastest that ends no worse than the references, a fraction.
        ends_worse: whether it ends worse than the reference as it is, by more than the margin.
    """

    size: str
    rate: str
    workload: str
    of_own: float
    regret: float
    ends_worse: bool


def recorded_near(grid: RecordedGrid, batch_size: int, learning_rate: float) -> CellKey | None:
    """The cell at this batch size whose rate is nearest, if within half an octave."""
    if batch_size not in grid.batch_sizes:
        return None
    cell = nearest_cell(grid, batch_size, learning_rate)
    off = max(cell[1] / learning_rate, learning_rate / cell[1])
    return cell if off < _HALF_AN_OCTAVE else None


def by_rules(situation: WholeSituation) -> Iterator[ByRule]:
    """All rules on one workload and its step times, as far as they were recorded."""
    grid = situation.grid
    own_size, own_rate = situation.reference
    own_s = situation.time_s(situation.reference, grid.seeds)
    no_worse = [cell for cell in grid.cells if situation.shortfall(cell, grid.seeds) <= 1]
    best_s = min(situation.time_s(cell, grid.seeds) for cell in no_worse)
    for size, size_of in SIZES.items():
        batch_size = size_of(situation)
        for rate, exponent in RATES.items():
            wanted = own_rate * (batch_size / own_size) ** exponent
            cell = recorded_near(grid, batch_size, wanted)
            if cell is None:
                continue
            time_s = situation.time_s(cell, grid.seeds)
            yield ByRule(
                size=size,
                rate=rate,
                workload=grid.header.workload,
                of_own=time_s / own_s,
                regret=time_s / best_s - 1,
                ends_worse=situation.shortfall_of_own(cell, grid.seeds) > 1,
            )


def table(found: Iterable[ByRule]) -> str:
    """A row for each rule: how long it takes, how often it is slower, how often it ends worse."""
    groups: dict[tuple[str, str], list[ByRule]] = {}
    for each in found:
        groups.setdefault((each.size, each.rate), []).append(each)
    time = "time, of yours as it is (median / 90th percentile)"
    lines = head(
        "batch size", "rate", "recorded for", time, "regret, median", "slower", "ends worse"
    )
    for size, rate in product(SIZES, RATES):
        group = groups.get((size, rate), [])
        if not group:
            continue
        times = [each.of_own for each in group]
        n_workloads = len({each.workload for each in group})
        lines.append(
            row(
                size,
                rate,
                f"{n_workloads} workloads, {len(group)} answers",
                f"{_share(statistics.median(times))} / {_share(quantile(times, 0.9))}",
                percent(statistics.median(each.regret for each in group)),
                percent(sum(each > _SLOWER for each in times) / len(group)),
                percent(sum(each.ends_worse for each in group) / len(group)),
            )
        )
    return "\n".join(lines)


def _share(time: float) -> str:
    return "never" if math.isinf(time) else percent(time)


def main() -> None:
    """Print the table."""
    found: list[ByRule] = []
    for path in sorted(GRIDS.glob("*.csv.gz")):
        grid = RecordedGrid.read(path)
        for profile in profiles_of(grid):
            found += by_rules(whole_situation(grid, profile, draw=0))
    print(table(found))


if __name__ == "__main__":
    main()
