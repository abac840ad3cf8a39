"""The record of regret: what the advice is worth on recorded grids, beside habits.

    python benchmarks/regret.py [--workloads mlp-narrow ...] [--draws 20] [--workers 1 2]
        [--processes 2]

For each workload x step times x budget x draw the advice is asked which batch size trains fastest
to the target, with a prior that never saw the workload. It sees some of the seeds; what it names,
and the optimum chosen on those very seeds, are valued on the others. Regret is how much longer what
it names takes than that optimum. Where it names nothing, the reference stays.

Budgets are fractions of what all recorded runs of the seeds that it sees would cost, and are also
given in trainings of the reference configuration.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

# Run as a script: what lies beside it goes by the name that it has from the root.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.recorded.grid import CellKey, RecordedGrid
from benchmarks.regret.habits import HABITS, TOLD_THE_RATES
from benchmarks.regret.harness import (
    arguments_of,
    both,
    exactly,
    head,
    percent,
    quantile,
    question_of,
    row,
    write_answers,
)
from benchmarks.regret.situation import PROFILES, Situation, situation
from benchmarks.surface_prior import prior_without

from batchlab.advice.advice import Question
from batchlab.advice.decider import decide
from batchlab.advice.run_log import RunLog
from batchlab.errors import BatchlabError

GRIDS = Path(__file__).parent / "regret"
RESULTS = Path(__file__).parent / "results" / "regret.json"
BUDGETS = (0.02, 0.05, 0.1, 0.2)
MAIN_BUDGET = 0.1
ADVISE = "advise"
TOLD = "(told the rates)"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one draw gave.

    Attributes:
        workload: the grid.
        profile: the step times.
        budget: fraction of the search's cost.
        draw: which split of the seeds.
        n_workers: how many runs went side by side.
        who: "advise", or the habit.
        batch_size: what was named; None: nothing that was recorded.
        learning_rate: its rate.
        regret: a fraction; infinite: it fails.
        of_reference: how long it takes over what the reference takes.
        spent: of the budget, a fraction.
        reference_trainings: the budget, in trainings of the reference configuration.
        tuned_trainings: the same, with the reference batch size at its best rate.
        problem: the error that the advice ended with, if any.
        chance: how likely it is no slower than the reference, as stated; None: the reference stays.
        gain_low: the lower end of the interval of the gain, as stated.
        gain_high: its upper end.
    """

    workload: str
    profile: str
    budget: float
    draw: int
    n_workers: int
    who: str
    batch_size: int | None
    learning_rate: float | None
    regret: float
    of_reference: float
    spent: float
    reference_trainings: float
    tuned_trainings: float
    problem: str = ""
    chance: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What was named, by the advice or by a habit."""

    cell: CellKey | None
    spent_s: float = math.nan
    problem: str = ""
    chance: float | None = None
    gain: tuple[float | None, float | None] = (None, None)


def asked(situation: Situation, budget_s: float) -> Question:
    """Which batch size reaches the grid's target in the least time?"""
    grid = situation.grid
    step_s = exactly(situation.step_s)
    return question_of(grid.header, step_s, budget_s, target=grid.target)


def advised(situation: Situation, budget_s: float, n_workers: int = 1) -> Reply:
    """Ask the advice, with a prior that never saw the workload."""
    engine = situation.engine(n_workers)
    log = RunLog(question=asked(situation, budget_s), engine=engine, until=situation.grid.target)
    try:
        decided = decide(log, prior_without(situation.grid.header.workload))
    except BatchlabError as error:
        return Reply(cell=situation.reference, spent_s=engine.spent_s(), problem=str(error))
    gain = decided.gain
    return Reply(
        cell=situation.grid.cell(*decided.cell[:2]),
        spent_s=engine.spent_s(),
        chance=decided.chance,
        gain=(None, None) if gain is None else (gain.low, gain.high),
    )


def replies(
    situation: Situation, budget_s: float, draw: int, n_workers: int
) -> Iterator[tuple[str, Reply]]:
    """What the advice names, and every habit; habits train one run at a time."""
    yield ADVISE, advised(situation, budget_s, n_workers)
    if n_workers > 1:
        return
    for who, habit in (HABITS | {TOLD: TOLD_THE_RATES}).items():
        yield who, Reply(cell=habit(situation, budget_s, draw))


def answers_of(
    workload: str, profile: str, budgets: Sequence[float], draws: int, n_workers: int = 1
) -> list[Answer]:
    """All answers for one grid and its step times."""
    grid = RecordedGrid.read(GRIDS / f"{workload}.csv.gz")
    answers = []
    for draw in range(draws):
        drawn = situation(grid, profile, split=draw)
        reference_s = drawn.seconds_to_target(drawn.reference, drawn.held_back)
        for budget in budgets:
            budget_s = budget * drawn.search_cost_s
            for who, reply in replies(drawn, budget_s, draw, n_workers):
                cell, time_s = reply.cell, math.inf
                if cell is not None:
                    time_s = drawn.seconds_to_target(cell, drawn.held_back)
                answers.append(
                    Answer(
                        workload=workload,
                        profile=profile,
                        budget=budget,
                        draw=draw,
                        n_workers=n_workers,
                        who=who,
                        batch_size=None if cell is None else cell[0],
                        learning_rate=None if cell is None else cell[1],
                        regret=drawn.regret(cell),
                        of_reference=1.0 if time_s == reference_s else time_s / reference_s,
                        spent=reply.spent_s / budget_s,
                        reference_trainings=budget_s / drawn.reference_s,
                        tuned_trainings=budget_s / drawn.tuned_reference_s,
                        problem=reply.problem,
                        chance=reply.chance,
                        gain_low=reply.gain[0],
                        gain_high=reply.gain[1],
                    )
                )
    return answers


def tables(answers: Sequence[Answer]) -> str:
    """The record as Markdown, by how many runs went side by side."""
    lines = []
    for n_workers in sorted({each.n_workers for each in answers}):
        if n_workers > 1:
            lines.append(f"## {n_workers} runs side by side\n")
        lines.append(table([each for each in answers if each.n_workers == n_workers]))
    return "\n\n".join(lines)


def table(answers: Sequence[Answer]) -> str:
    """All pairs at the main budget, then all budgets.

    Of a record without the main budget, the pairs are shown at the one next to it.
    """
    main_budget = min({each.budget for each in answers}, key=lambda b: abs(b - MAIN_BUDGET))
    main = [each for each in answers if each.budget == main_budget]
    pairs = sorted({(each.workload, each.profile) for each in main})
    everybody = list(dict.fromkeys(each.who for each in answers))
    lines = [
        f"Regret at {percent(main_budget)} of the search's cost, median / 90th percentile over "
        f"draws.",
        "",
        *head("workload, step times", "budget in trainings", *everybody),
    ]
    for workload, profile in pairs:
        pair = [each for each in main if (each.workload, each.profile) == (workload, profile)]
        lines.append(_row(f"{workload}, {profile}", pair, everybody))
    lines += ["", *head("all pairs at a budget of", "in trainings", *everybody)]
    for budget in sorted({each.budget for each in answers}):
        some = [each for each in answers if each.budget == budget]
        lines.append(_row(percent(budget), some, everybody))
    own = [each for each in main if each.who == ADVISE]
    lines += ["", *_stated(own), "", _spent(own)]
    if len(everybody) > 1:
        lines += ["", *_excess(main, pairs)]
    problems = sorted({each.problem for each in answers if each.problem})
    lines += ["", *(f"- problem: {problem}" for problem in problems)] if problems else []
    return "\n".join(lines)


def _stated(own: Sequence[Answer]) -> list[str]:
    """Chances and gains as stated, beside what was seen on the seeds held back."""
    lines = head("chance stated", "named", "no slower", "gain in its interval")
    for low, high in ((0.0, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.01)):
        some = [each for each in own if each.chance is not None and low <= each.chance < high]
        if some:
            said = statistics.fmean(each.chance or 0.0 for each in some)
            no_slower = statistics.fmean(each.of_reference <= 1 for each in some)
            held = percent(statistics.fmean(map(_gain_held, some)))
            lines.append(row(percent(said), str(len(some)), percent(no_slower), held))
    return lines


def _gain_held(answer: Answer) -> bool:
    gain = 1 / answer.of_reference
    return (answer.gain_low or 0.0) <= gain <= (answer.gain_high or math.inf)


def _spent(own: Sequence[Answer]) -> str:
    spent = statistics.median(each.spent for each in own)
    over = sum(each.spent > 1.0 for each in own)
    within = (statistics.fmean(each.regret <= most for each in own) for most in (0.05, 0.15))
    stays = sum(each.chance is None for each in own)
    return (
        f"The reference stays in {stays} of {len(own)}. Spent: {percent(spent)} of the budget "
        f"(median); more than all of it in {over}. At most 5 % and 15 % are lost by "
        f"{' and '.join(map(percent, within))}."
    )


def _excess(answers: Sequence[Answer], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Where the advice is worse than the best habit of a pair, by medians."""
    lines = []
    for workload, profile in pairs:
        pair = [each for each in answers if (each.workload, each.profile) == (workload, profile)]
        best = min((_median(pair, who), who) for who in HABITS)
        excess = _median(pair, ADVISE) - best[0]
        if excess > 0.05:
            lines.append(f"- {workload}, {profile}: {100 * excess:.0f} points worse than {best[1]}")
    return lines or ["On no pair is it more than 5 points worse than the best habit."]


def _median(answers: Sequence[Answer], who: str) -> float:
    return quantile(_regrets(answers, who), 0.5)


def _regrets(answers: Sequence[Answer], who: str) -> list[float]:
    return [each.regret for each in answers if each.who == who]


def _row(name: str, answers: Sequence[Answer], everybody: Sequence[str]) -> str:
    regrets = (both(_regrets(answers, who)) for who in everybody)
    return row(name, _trainings(answers), *regrets)


def _trainings(answers: Sequence[Answer]) -> str:
    reference = statistics.median(each.reference_trainings for each in answers)
    tuned = statistics.median(each.tuned_trainings for each in answers)
    return f"{reference:.3g} ({tuned:.3g} tuned)"


def main() -> None:
    arguments = arguments_of(
        __doc__.splitlines()[0],
        grids=GRIDS,
        budgets=BUDGETS,
        draws=20,
        processes=2,
        out=RESULTS,
    )
    started_s = time.monotonic()
    profiles = [profile for profile in PROFILES if profile in arguments.profiles]
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = [
            pool.submit(answers_of, *pair, arguments.budgets, arguments.draws, n_workers)
            for *pair, n_workers in product(arguments.workloads, profiles, arguments.workers)
        ]
        answers = [answer for job in jobs for answer in job.result()]
    print(tables(answers))
    write_answers(
        arguments.out,
        answers,
        command="python benchmarks/regret.py",
        draws=arguments.draws,
        null="a regret: infinite, the choice misses the target or was not recorded",
    )
    print(f"\n{time.monotonic() - started_s:.0f} s; written: {arguments.out.name}")


if __name__ == "__main__":
    main()
