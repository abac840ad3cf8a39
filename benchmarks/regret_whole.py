"""The record of regret: what the advice is worth, on recorded whole trainings.

    python benchmarks/regret_whole.py [--workloads mlp-narrow ...] [--draws 0 1 ...]
        [--octaves -3 -1 0] [--workers 1 2] [--given] [--processes 1]

For each workload x step times x budget x draw the advice trains the reference to its end, takes the
level from it, and names a batch size that gets there fastest and ends no worse, or cannot tell. It
sees some of the seeds; what it names, and the optimum chosen on those very seeds, are valued on the
others. Regret is how much longer what it names takes to the level than the optimum. Where it names
nothing, the reference stays.

With `--octaves` the user's rate lies so far from the best one of its batch size (the one that ends
best), instead of where it was recorded. With `--given` the advice is given a target: the level that
all recorded trainings of the reference set.

Every habit but "all once" is charged for what it runs, as the advice is. The advice takes its step
times from a profile that is off by a few per cent, and pays what the steps really take.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

# Run as a script: what lies beside it goes by the name that it has from the root.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.harness import GRIDS, LATER_GRIDS, name_of, path_of, write_answers
from benchmarks.regret.whole_habits import WHOLE_HABITS, Reply
from benchmarks.regret.whole_situation import (
    PROFILES,
    WholeSituation,
    own_configuration,
    profiles_of,
    reached_by_others,
    scatter_of_ends,
    whole_situation,
)
from benchmarks.regret.whole_table import ADVISE, WholeAnswer, tables
from benchmarks.surface_prior import prior_without

from batchlab.advice.advisor import decide
from batchlab.advice.answer import answered
from batchlab.advice.run_log import RunLog
from batchlab.errors import BatchlabError, TrialError
from batchlab.records.trial import Target

RESULTS = Path(__file__).parent / "results" / "regret_whole.json.gz"
DRAWS = tuple(range(10))  # splits of the seeds
# In trainings of the tuned reference to the level. The end of a whole training is ten times as far
# off, so that the advice sees it with the last of them, if at all.
BUDGETS = (4.0, 9.0, 18.0, 36.0, 75.0, 150.0, 300.0)


def advised(
    situation: WholeSituation,
    budget_s: float,
    n_workers: int = 1,
    target: Target | None = None,
) -> Reply:
    """Ask the advice, with a prior that never saw the workload."""
    engine = situation.engine(n_workers)
    log = RunLog(question=situation.question(budget_s, target), engine=engine, until=target)
    try:
        found = decide(log, prior_without(situation.header.workload))
    except BatchlabError as error:
        return Reply(cell=situation.reference, spent_s=engine.spent_s(), problem=str(error))
    cell = situation.grid.cell(*found.cell[:2])
    advice = answered(found, log)
    gain, study = advice.gain, found.procedure and found.procedure.study
    return Reply(
        cell=cell,
        spent_s=engine.spent_s(),
        origin=advice.target_origin,
        chance=advice.chance,
        gain=(gain.low, gain.estimate, gain.high),
        level=log.until,
        n_sizes=None if study is None else len(study.ran_sizes),
    )


def replies(
    situation: WholeSituation,
    budget_s: float,
    draw: int,
    n_workers: int,
    target: Target | None = None,
) -> Iterator[tuple[str, Reply]]:
    """What the advice names, and every habit; habits train one run at a time."""
    yield ADVISE, advised(situation, budget_s, n_workers, target)
    if n_workers > 1:
        return
    for who, habit in WHOLE_HABITS.items():
        yield who, habit(situation, budget_s, draw)


def answer_to(
    drawn: WholeSituation,
    reply: Reply,
    *,
    who: str,
    draw: int,
    budget_s: float,
    n_workers: int = 1,
) -> WholeAnswer:
    """What a reply was worth, on the seeds that judge."""
    cell = reply.cell
    time_s = math.inf if cell is None else drawn.time_s(cell, drawn.judging)
    reference_s = drawn.time_s(drawn.reference, drawn.judging)
    return WholeAnswer(
        workload=drawn.header.workload,
        profile=drawn.profile,
        rate_octaves=drawn.rate_octaves,
        draw=draw,
        who=who,
        tuned_trainings=budget_s / drawn.tuned_reference_s,
        whole_trainings=budget_s / drawn.whole_reference_s,
        batch_size=None if cell is None else cell[0],
        learning_rate=None if cell is None else cell[1],
        named_as="reference" if cell == drawn.reference else "named",
        origin=reply.origin,
        n_workers=n_workers,
        regret=drawn.regret(cell),
        of_reference=1.0 if time_s == reference_s else time_s / reference_s,
        of_reference_error=0.0 if cell is None else drawn.time_error(cell, drawn.judging),
        shortfall=math.inf if cell is None else drawn.shortfall(cell, drawn.judging),
        shortfall_of_own=math.inf if cell is None else drawn.shortfall_of_own(cell, drawn.judging),
        shortfall_error=0.0 if cell is None else drawn.shortfall_error(cell, drawn.judging),
        spent=reply.spent_s / budget_s,
        problem=reply.problem,
        chance=reply.chance,
        gain_low=reply.gain[0],
        gain=reply.gain[1],
        gain_high=reply.gain[2],
        gain_seen=_gain_seen(drawn, reply),
        n_sizes=reply.n_sizes,
    )


def _gain_seen(drawn: WholeSituation, reply: Reply) -> float | None:
    """How many times as long the reference takes to the level that the answer states.

    0 where what was named misses that level; None where the reference does.
    """
    if reply.cell is None or reply.level is None:
        return None
    own_s, mine_s = (
        drawn.time_s(cell, drawn.judging, reply.level) for cell in (drawn.reference, reply.cell)
    )
    return own_s / mine_s if math.isfinite(own_s) else None


def answers_of(
    path: Path,
    profile: str,
    budgets: Sequence[float],
    draws: Sequence[int],
    octaves: int | None = None,
    n_workers: int = 1,
    is_given: bool = False,
) -> list[WholeAnswer]:
    """All answers for one grid and its step times.

    Args:
        path: of the grid.
        profile: the step times.
        budgets: in trainings of the tuned reference to the level.
        draws: splits of the seeds.
        octaves: how far the user's rate is from the best one of its batch size; None: the recorded
            rate. No answers if that rate was not recorded.
        n_workers: how many runs the advice has side by side.
        is_given: whether the advice is given the level as its target.
    """
    grid = RecordedGrid.read(path)
    answers = []
    for draw in draws:
        drawn = whole_situation(grid, profile, draw=draw)
        if octaves is not None:
            try:
                drawn = drawn.with_rate(octaves)
            except TrialError:
                return []
        target = drawn.level.target if is_given else None
        for budget in budgets:
            budget_s = budget * drawn.tuned_reference_s
            answers += [
                answer_to(drawn, reply, who=who, draw=draw, budget_s=budget_s, n_workers=n_workers)
                for who, reply in replies(drawn, budget_s, draw, n_workers, target)
            ]
    return answers


def _arguments() -> argparse.Namespace:
    recorded, later = (list(map(name_of, paths)) for paths in (GRIDS, LATER_GRIDS))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", choices=recorded + later, default=recorded)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=PROFILES)
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS)
    parser.add_argument("--draws", nargs="+", type=int, default=DRAWS)
    parser.add_argument("--octaves", nargs="+", type=int)
    parser.add_argument("--workers", nargs="+", type=int, default=[1])
    parser.add_argument("--given", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    started_s = time.monotonic()
    jobs = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for workload in arguments.workloads:
            path = path_of(workload)
            for profile in profiles_of(RecordedGrid.read(path)):
                if profile in arguments.profiles:
                    asked_with = path, profile, arguments.budgets, arguments.draws
                    for varied in product(arguments.octaves or [None], arguments.workers):
                        job = pool.submit(answers_of, *asked_with, *varied, arguments.given)
                        jobs.append(job)
        answers = [answer for job in jobs for answer in job.result()]
    write_answers(
        arguments.out,
        answers,
        command="python benchmarks/regret_whole.py",
        draws=arguments.draws,
        null="a number: infinite, what was named misses the level or was not recorded",
    )
    print(tables(answers))
    print(
        "\nOf the reference's trainings, so many reach the level that one sets; the worse of two:\n"
    )
    for workload in arguments.workloads:
        grid = RecordedGrid.read(path_of(workload))
        one, two = (reached_by_others(grid, n_seeds=n) for n in (1, 2))
        scatter = scatter_of_ends(grid, own_configuration(grid))
        print(f"- {workload}: {one:.0%}; {two:.0%}; their ends scatter by {scatter:.2g} margins")
    print(f"\n{time.monotonic() - started_s:.0f} s; written: {arguments.out.name}")


if __name__ == "__main__":
    main()
