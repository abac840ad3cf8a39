"""Coverage of the final values that an advice shows, on the recorded whole trainings.

    python -m benchmarks.end_coverage [--draws 2]

Each workload is asked about at three budgets with some of its seeds, and a prior that never saw it.
An interval holds if the mean of the seeds that were kept back lies in it, widened by the error of
that mean. Half widths and errors are in margins.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.harness import GRIDS, LATER_GRIDS
from benchmarks.regret.whole_situation import WholeSituation, profiles_of, whole_situation
from benchmarks.surface_prior import prior_without

from batchlab.advice.advice import Advice, Believed
from batchlab.advice.advisor import decide
from batchlab.advice.answer import answered
from batchlab.advice.run_log import RunLog
from batchlab.errors import BatchlabError

BUDGETS = (18.0, 75.0, 150.0)  # in trainings of the tuned reference to the level
# By how many whole trainings of the configuration itself were seen.
ROWS = ((0, 0), (1, 1), (2, 2), (3, 99))


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One final value that was shown, and the truth."""

    n: int  # whole trainings of the configuration that were seen
    holds: bool
    half: float  # half the width of its interval, in margins
    off: float  # from the truth, in margins


def shown_in(situation: WholeSituation, budget: float) -> Iterator[Shown]:
    """Yield the final values of one advice."""
    question = situation.question(budget * situation.tuned_reference_s)
    log = RunLog(question=question, engine=situation.engine(), until=None)
    try:
        decided = decide(log, prior_without(situation.header.workload))
    except BatchlabError:
        return
    advice = answered(decided, log)
    if decided.procedure is None or (end := decided.procedure.study.end) is None:
        return
    for believed in advice.believed:
        yield from _judged(situation, advice, believed, end.margin)


def _judged(
    situation: WholeSituation, advice: Advice, believed: Believed, margin: float
) -> Iterator[Shown]:
    cell = situation.grid.cell(believed.batch_size, believed.learning_rate)
    ends = {seed: situation.end(cell, [seed]) for seed in situation.grid.cells.get(cell, ())}
    known = {seed: end for seed, end in ends.items() if end is not None and math.isfinite(end)}
    kept_back = [known[seed] for seed in situation.judging if seed in known]
    end = believed.end
    if end.estimate is None or end.low is None or end.high is None:
        return
    if len(kept_back) < 2 or len(known) < len(ends):
        return  # a training of it failed
    truth = statistics.fmean(kept_back)
    error = 1.96 * statistics.stdev(known.values()) / math.sqrt(len(kept_back))
    below, above = (
        math.hypot(end.estimate - end.low, error),
        math.hypot(end.high - end.estimate, error),
    )
    yield Shown(
        n=end.n,
        holds=end.estimate - below <= truth <= end.estimate + above,
        half=(end.high - end.low) / 2 / margin,
        off=abs(end.estimate - truth) / margin,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2, help="splits of the seeds")
    n_draws = parser.parse_args().draws
    shown: list[Shown] = []
    for path in GRIDS + LATER_GRIDS:
        grid = RecordedGrid.read(path)
        for draw in range(n_draws):
            situation = whole_situation(grid, profiles_of(grid)[0], draw=draw)
            for budget in BUDGETS:
                shown += shown_in(situation, budget)
    print("| whole trainings seen | shown | hold | half width | off |\n|---|---:|---:|---:|---:|")
    for fewest, most in ROWS:
        row = [each for each in shown if fewest <= each.n <= most]
        label = str(fewest) if fewest == most else f"{fewest} or more"
        hold = 100 * statistics.fmean(each.holds for each in row)
        half, off = (
            statistics.median(getattr(each, key) for each in row) for key in ("half", "off")
        )
        print(f"| {label} | {len(row)} | {hold:.1f} % | {half:.2f} | {off:.2f} |")


if __name__ == "__main__":
    main()
