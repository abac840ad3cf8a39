"""The record of regret: what the advice is worth on recorded grids, beside habits.

    python benchmarks/regret.py [--workloads mlp-narrow ...] [--draws 20] [--processes 2]

For each workload x step times x budget x draw the advice is asked which batch size trains fastest
to the target. It sees some of the seeds; what it recommends, and the optimum chosen on those very
seeds, are valued on the others. Regret is how much longer the recommendation takes than that
optimum. Where it cannot tell, what it names for who must choose now is valued; apart from that,
what it comes to if nothing is changed then: the workload's reference configuration stays.

Budgets are fractions of what all recorded runs of the seeds that it sees would cost, and are also
given in trainings of the reference configuration.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
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

from batchlab.advice.advice import Configuration, Question
from batchlab.advice.advisor import advise
from batchlab.errors import BatchlabError

GRIDS = Path(__file__).parent / "regret"
RESULTS = Path(__file__).parent / "results" / "regret.json"
BUDGETS = (0.02, 0.05, 0.1, 0.2)
MAIN_BUDGET = 0.1
TOLD = "(told the rates)"
ONLY_RECOMMENDED = "(only if it can tell)"
COLUMNS = (ONLY_RECOMMENDED, *HABITS, TOLD)
# The advisor's constants were chosen on these; the others saw them only once they stood.
CONSTANTS_FIXED_ON = ("mlp-narrow", "mlp-adam", "tabular", "cnn")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one draw gave.

    Attributes:
        workload: the grid.
        profile: the step times.
        budget: fraction of the search's cost.
        draw: which split of the seeds.
        who: "advise", or the habit.
        batch_size: what was chosen; None: nothing that was recorded.
        learning_rate: its rate.
        verdict: of the advice; empty for a habit.
        regret: a fraction; infinite: it fails.
        spent: of the budget, a fraction.
        reference_trainings: the budget, in trainings of the reference configuration.
        tuned_trainings: the same, with the reference batch size at its best rate.
        problem: the error that the advice ended with, if any.
    """

    workload: str
    profile: str
    budget: float
    draw: int
    who: str
    batch_size: int | None
    learning_rate: float | None
    verdict: str
    regret: float
    spent: float
    reference_trainings: float
    tuned_trainings: float
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Advised:
    """What the advice came to.

    Attributes:
        cell: what it recommends, or names where it cannot tell; else the reference configuration.
        only_recommended: what it recommends; else the reference configuration.
        verdict: its verdict, or "error".
        spent: of the budget, a fraction.
        problem: the error that it ended with, if any.
    """

    cell: CellKey
    only_recommended: CellKey
    verdict: str
    spent: float
    problem: str = ""


def asked(situation: Situation, budget_s: float) -> Question:
    """Which batch size reaches the grid's target in the least time?"""
    grid = situation.grid
    step_s = exactly(situation.step_s)
    return question_of(grid.header, step_s, budget_s, target=grid.target)


def advised(situation: Situation, budget_s: float) -> Advised:
    """Ask the advice."""
    engine = situation.engine()

    def cell_of(chosen: Configuration | None) -> CellKey:
        if chosen is None:
            return situation.reference
        return situation.grid.cell(chosen.batch_size, chosen.learning_rate)

    try:
        advice = advise(asked(situation, budget_s), engine)
        return Advised(
            cell=cell_of(advice.recommendation or advice.provisional),
            only_recommended=cell_of(advice.recommendation),
            verdict=advice.verdict,
            spent=engine.spent_s() / budget_s,
        )
    except BatchlabError as error:
        return Advised(
            cell=situation.reference,
            only_recommended=situation.reference,
            verdict="error",
            spent=engine.spent_s() / budget_s,
            problem=str(error),
        )


def answers_of(workload: str, profile: str, budgets: Sequence[float], draws: int) -> list[Answer]:
    """All answers for one grid and its step times."""
    grid = RecordedGrid.read(GRIDS / f"{workload}.csv.gz")
    answers = []
    for draw in range(draws):
        drawn = situation(grid, profile, split=draw)
        for budget in budgets:
            budget_s = budget * drawn.search_cost_s
            trainings = budget_s / drawn.reference_s, budget_s / drawn.tuned_reference_s

            def answer(
                who: str,
                cell: CellKey | None,
                *,
                verdict: str = "",
                spent: float = math.nan,
                problem: str = "",
                drawn: Situation = drawn,
                draw: int = draw,
                budget: float = budget,
                trainings: tuple[float, float] = trainings,
            ) -> Answer:
                return Answer(
                    workload=workload,
                    profile=profile,
                    budget=budget,
                    draw=draw,
                    who=who,
                    batch_size=None if cell is None else cell[0],
                    learning_rate=None if cell is None else cell[1],
                    verdict=verdict,
                    regret=drawn.regret(cell),
                    spent=spent,
                    reference_trainings=trainings[0],
                    tuned_trainings=trainings[1],
                    problem=problem,
                )

            own = advised(drawn, budget_s)
            answers.append(
                answer(
                    "advise", own.cell, verdict=own.verdict, spent=own.spent, problem=own.problem
                )
            )
            answers.append(answer(ONLY_RECOMMENDED, own.only_recommended))
            others = {**HABITS, TOLD: TOLD_THE_RATES}
            answers += [answer(who, habit(drawn, budget_s, draw)) for who, habit in others.items()]
    return answers


def table(answers: Sequence[Answer]) -> str:
    """The whole record as Markdown: all pairs at the main budget, then all budgets.

    Of a record without the main budget, the pairs are shown at the one next to it.
    """
    main_budget = min({each.budget for each in answers}, key=lambda b: abs(b - MAIN_BUDGET))
    main = [each for each in answers if each.budget == main_budget]
    pairs = sorted({(each.workload, each.profile) for each in main})
    lines = [
        f"Regret at {percent(main_budget)} of the search's cost, median / 90th percentile over "
        f"draws. \\*: the advisor's constants were fixed on this workload.",
        "",
        *head("workload, step times", "budget in trainings", "advise", *COLUMNS),
    ]
    for workload, profile in pairs:
        pair = [each for each in main if (each.workload, each.profile) == (workload, profile)]
        star = "\\*" if workload in CONSTANTS_FIXED_ON else ""
        lines.append(_row(f"{workload}{star}, {profile}", pair))
    lines += ["", *head("all pairs at a budget of", "in trainings", "advise", *COLUMNS)]
    for name, chosen in (
        ("", lambda each: True),
        (", \\* only", lambda each: each.workload in CONSTANTS_FIXED_ON),
        (", the others", lambda each: each.workload not in CONSTANTS_FIXED_ON),
    ):
        lines += _budget_rows(answers, name, chosen)
    lines += ["", *_verdicts(main, main_budget), "", *_excess(main, pairs)]
    problems = sorted({each.problem for each in answers if each.problem})
    lines += ["", *(f"- problem: {problem}" for problem in problems)] if problems else []
    return "\n".join(lines)


def _budget_rows(
    answers: Sequence[Answer], name: str, chosen: Callable[[Answer], bool]
) -> list[str]:
    rows = []
    for budget in sorted({each.budget for each in answers}):
        some = [each for each in answers if each.budget == budget and chosen(each)]
        if some:
            rows.append(_row(f"{percent(budget)}{name}", some))
    return rows


def _verdicts(answers: Sequence[Answer], budget: float) -> list[str]:
    own = [each for each in answers if each.who == "advise"]
    verdicts = sorted({each.verdict for each in own})
    counted = [f"{sum(e.verdict == verdict for e in own)} {verdict}" for verdict in verdicts]
    spent = statistics.median(each.spent for each in own)
    over = sum(each.spent > 1.0 for each in own)
    within = (statistics.fmean(each.regret <= most for each in own) for most in (0.05, 0.15))
    regrets = (
        f"{verdict} {both([each.regret for each in own if each.verdict == verdict])}"
        for verdict in verdicts
    )
    return [
        f"Verdicts at {percent(budget)}: {', '.join(counted)}. Spent: {percent(spent)} of "
        f"the budget (median); more than all of it in {over} of {len(own)}. At most 5 % and 15 % "
        f"are lost by {' and '.join(map(percent, within))} of them. Regret by verdict: "
        f"{', '.join(regrets)}."
    ]


def _excess(answers: Sequence[Answer], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Where the advice is worse than the best habit of a pair, by medians."""
    lines = []
    for workload, profile in pairs:
        pair = [each for each in answers if (each.workload, each.profile) == (workload, profile)]
        best = min((_median(pair, who), who) for who in HABITS)
        excess = _median(pair, "advise") - best[0]
        if excess > 0.05:
            lines.append(f"- {workload}, {profile}: {100 * excess:.0f} points worse than {best[1]}")
    return lines or ["On no pair is it more than 5 points worse than the best habit."]


def _median(answers: Sequence[Answer], who: str) -> float:
    return quantile(_regrets(answers, who), 0.5)


def _regrets(answers: Sequence[Answer], who: str) -> list[float]:
    return [each.regret for each in answers if each.who == who]


def _row(name: str, answers: Sequence[Answer]) -> str:
    regrets = (both(_regrets(answers, who)) for who in ("advise", *COLUMNS))
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
    pairs = [(workload, profile) for workload in arguments.workloads for profile in PROFILES]
    pairs = [pair for pair in pairs if pair[1] in arguments.profiles]
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = [
            pool.submit(answers_of, *pair, arguments.budgets, arguments.draws) for pair in pairs
        ]
        answers = [answer for job in jobs for answer in job.result()]
    print(table(answers))
    write_answers(
        arguments.out,
        answers,
        command="python benchmarks/regret.py",
        draws=arguments.draws,
        constants_fixed_on=CONSTANTS_FIXED_ON,
        null="a regret: infinite, the choice misses the target or was not recorded",
    )
    print(f"\n{time.monotonic() - started_s:.0f} s; written: {arguments.out}")


if __name__ == "__main__":
    main()
