"""What the advice is worth to someone whose own batch size is large already.

    python benchmarks/large_reference.py [--draws 2] [--processes 1]

The recorded workloads have references of 32 to 128. Here 512 and 2048 take their place, each at the
recorded rate nearest to the square-root rule's: the same trainings, asked another question. With
step times that grow with the batch, smaller batch sizes may be as fast a step and need fewer
examples. References that do not learn are left out.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
from regret.nearest_cell import nearest_cell
from regret.table_parts import both, head, percent, quantile, row
from regret.whole_situation import WholeSituation, whole_situation
from regret_whole import GRIDS, advised

from batchlab.engines.recorded_grid import RecordedGrid

REFERENCES = (512, 2048)
PROFILES = ("cpu", "flat to 256", "flat to 8192")
TRAININGS = (1.5, 3.0, 6.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        profile: name of the step times.
        trainings: the budget, in whole trainings of the reference.
        of_own: seconds to the level of what was named, over those of the reference as it is.
        regret: how much longer than the optimum it takes, a fraction; infinite: it misses it.
        ends_worse: whether it ends worse than the reference as it is, by more than the margin.
    """

    profile: str
    trainings: float
    of_own: float
    regret: float
    ends_worse: bool


def with_reference(grid: RecordedGrid, batch_size: int) -> RecordedGrid:
    """The same trainings with another reference, at about the rate of the square-root rule."""
    header = grid.header
    wanted = header.reference_learning_rate * math.sqrt(batch_size / header.reference_batch_size)
    _, rate = nearest_cell(grid, batch_size, wanted)
    changed = msgspec.structs.replace(
        header, reference_batch_size=batch_size, reference_learning_rate=rate
    )
    return RecordedGrid(header=changed, runs=grid.runs)


def learns(situation: WholeSituation) -> bool:
    """Whether the reference takes some training to its own level, on the judging seeds too."""
    seconds = situation.time_s(situation.reference, situation.judging)
    return 0 < seconds < math.inf and situation.tuned_reference_s > 0


def replies_of(path: Path, draws: int) -> list[Reply]:
    """All answers on one recorded workload."""
    return list(_replies(RecordedGrid.read(path), draws))


def _replies(grid: RecordedGrid, draws: int) -> Iterator[Reply]:
    for size in set(REFERENCES).intersection(grid.batch_sizes):
        changed = with_reference(grid, size)
        for profile in PROFILES:
            for draw in range(draws):
                drawn = whole_situation(changed, profile, draw=draw)
                if learns(drawn):
                    yield from (_reply(drawn, trainings) for trainings in TRAININGS)


def _reply(drawn: WholeSituation, trainings: float) -> Reply:
    cell = advised(drawn, trainings * drawn.whole_reference_s).cell
    assert cell is not None
    own_s = drawn.time_s(drawn.reference, drawn.judging)
    return Reply(
        profile=drawn.profile,
        trainings=trainings,
        of_own=drawn.time_s(cell, drawn.judging) / own_s,
        regret=drawn.regret(cell),
        ends_worse=drawn.shortfall_of_own(cell, drawn.judging) > 1,
    )


def table(replies: Sequence[Reply]) -> str:
    """A row for each of the step times and budgets."""
    times = "time, of yours as it is (median / 90th percentile)"
    lines = head("step times", "whole trainings", "answers", times, "regret", "ends worse")
    for profile in PROFILES:
        for trainings in TRAININGS:
            some = [r for r in replies if (r.profile, r.trainings) == (profile, trainings)]
            if not some:
                continue
            of_own = [reply.of_own for reply in some]
            lines.append(
                row(
                    profile,
                    f"{trainings:g}",
                    str(len(some)),
                    f"{percent(statistics.median(of_own))} / {percent(quantile(of_own, 0.9))}",
                    both([reply.regret for reply in some]),
                    percent(sum(reply.ends_worse for reply in some) / len(some)),
                )
            )
    return "\n".join(lines)


def main() -> None:
    """Ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.processes) as pool:
        jobs = [
            pool.submit(replies_of, path, given.draws) for path in sorted(GRIDS.glob("*.csv.gz"))
        ]
        print(table([reply for job in jobs for reply in job.result()]))


if __name__ == "__main__":
    main()
