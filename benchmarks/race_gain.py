"""How far the gain that a race of single runs sees is off, on the recorded trainings.

    python benchmarks/race_gain.py [--draws 2] [--processes 2]

The advice is asked at budgets at which it races. The true gain is that of the judging seeds, which
no run of the race had: the reference's mean time to the level over that of what was named. What
misses the level there has a true gain of none. Printed are the quantiles that hold 95 % of true
over seen (`batchlab.advice.race_gain` has these), and how often the quantiles of all other
workloads hold for the one that is left out, with its twin under a schedule.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from leave_one_out import twin
from regret.table_parts import head, percent, row
from regret.whole_situation import profiles_of, whole_situation
from regret_whole import GRIDS, asked

from batchlab.advice.advisor import advise
from batchlab.engines.recorded_grid import RecordedGrid

RESULTS = Path(__file__).parent / "results" / "race_gain.json"
_TRAININGS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.5, 6.0, 8.0)
_LOW, _HIGH = 0.025, 0.975
Seen = tuple[str, bool, float]
"""Workload, whether an end was seen, the true gain over the one seen."""


def ratios_of(path: Path, profile: str, draws: int) -> list[Seen]:
    """The true gain over the one seen, for the answers of one grid with its step times."""
    grid = RecordedGrid.read(path)
    found = []
    for draw in range(draws):
        drawn = whole_situation(grid, profile, draw=draw)
        for n in _TRAININGS:
            advice = advise(asked(drawn, n * drawn.whole_reference_s), drawn.engine())
            named, seen = advice.provisional, advice.gain.estimate
            if advice.reason.code != "single_runs" or named is None or seen is None:
                continue
            cell = grid.cell(named.batch_size, named.learning_rate)
            own_s, named_s = (drawn.time_s(c, drawn.judging) for c in (drawn.reference, cell))
            # Neither of the two may be infinite for the ratio to be a number.
            true = 0.0 if math.isinf(named_s) else own_s / named_s
            found.append((drawn.header.workload, advice.target_origin == "pilot", true / seen))
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which so many lie."""
    return sorted(values)[round(share * (len(values) - 1))]


def interval(ratios: Sequence[Seen], *, end_was_seen: bool) -> tuple[float, float]:
    """The quantiles that hold 95 % of the answers of one kind, to two decimals.

    The lowest and the highest of those with one of the workloads left out: a single workload with
    wide answers must not be all that makes it wide enough.
    """
    found = []
    for left_out in {twin(workload) for workload, _, _ in ratios}:
        some = [r for name, ended, r in ratios if ended == end_was_seen and twin(name) != left_out]
        found.append((quantile(some, _LOW), quantile(some, _HIGH)))
    return round(min(low for low, _ in found), 2), round(max(high for _, high in found), 2)


def held_when_left_out(ratios: Sequence[Seen], *, end_was_seen: bool) -> float:
    """How often the interval of the other workloads holds what was true of one."""
    held = []
    for left_out in {twin(workload) for workload, _, _ in ratios}:
        others = [each for each in ratios if twin(each[0]) != left_out]
        low, high = interval(others, end_was_seen=end_was_seen)
        held += [
            low <= ratio <= high
            for workload, ended, ratio in ratios
            if twin(workload) == left_out and ended == end_was_seen
        ]
    return statistics.fmean(held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.processes) as pool:
        jobs = [
            pool.submit(ratios_of, path, profile, given.draws)
            for path in sorted(GRIDS.glob("*.csv.gz"))
            for profile in profiles_of(RecordedGrid.read(path))
        ]
        ratios = [ratio for job in jobs for ratio in job.result()]
    print("\n".join(head("level", "answers", "median", "95 %", "holds for one left out")))
    for ended in (True, False):
        some = [ratio for _, seen, ratio in ratios if seen == ended]
        low, high = interval(ratios, end_was_seen=ended)
        print(
            row(
                "from the end" if ended else "from where it was cut",
                str(len(some)),
                f"{statistics.median(some):.2f}",
                f"{low} to {high}",
                percent(held_when_left_out(ratios, end_was_seen=ended)),
            )
        )
    rows = [[workload, ended, float(f"{ratio:.4g}")] for workload, ended, ratio in ratios]
    RESULTS.write_text(json.dumps({"draws": given.draws, "ratios": rows}) + "\n")


if __name__ == "__main__":
    main()
