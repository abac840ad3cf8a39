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

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from regret.habits import HABITS, TOLD_THE_RATES
from regret.situation import PROFILES, Situation, situation

from batchlab.advice.advisor import advise
from batchlab.advice.parts import Configuration
from batchlab.advice.question import Option, Question
from batchlab.engines.recorded_grid import CellKey, RecordedGrid
from batchlab.errors import BatchlabError
from batchlab.records.estimate import Estimate

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


def question_of(situation: Situation, budget_s: float) -> Question:
    """Which batch size reaches the grid's target in the least time?"""
    header = situation.grid.header
    return Question(
        objective="time",
        metric=header.metric,
        better=header.better,
        target=situation.grid.target,
        target_origin="given",
        reference=Configuration(
            batch_size=header.reference_batch_size,
            micro_batch_size=header.reference_batch_size,
            learning_rate=header.reference_learning_rate,
        ),
        options=tuple(
            Option(
                batch_size=size,
                micro_batch_size=size,
                step_s=Estimate.of(step_s, interval=(step_s, step_s), n=8),
                peak_bytes=None,
            )
            for size, step_s in situation.step_s.items()
        ),
        n_train=header.n_train,
        budget_s=budget_s,
    )


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


def advised(situation: Situation, budget_s: float) -> Advised:
    """Ask the advice."""
    engine = situation.engine()

    def cell_of(chosen: Configuration | None) -> CellKey:
        if chosen is None:
            return situation.reference
        return situation.grid.cell(chosen.batch_size, chosen.learning_rate)

    try:
        advice = advise(question_of(situation, budget_s), engine)
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


def quantile(values: Iterable[float], fraction: float) -> float:
    """The quantile, infinite values included; a value that was observed, never one between."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(fraction * len(ordered)) - 1)]


def table(answers: Sequence[Answer]) -> str:
    """The whole record as Markdown: all pairs at the main budget, then all budgets.

    Of a record without the main budget, the pairs are shown at the one next to it.
    """
    main_budget = min({each.budget for each in answers}, key=lambda b: abs(b - MAIN_BUDGET))
    main = [each for each in answers if each.budget == main_budget]
    pairs = sorted({(each.workload, each.profile) for each in main})
    lines = [
        f"Regret at {_percent(main_budget)} of the search's cost, median / 90th percentile over "
        f"draws. \\*: the advisor's constants were fixed on this workload.",
        "",
        *_head("workload, step times", "budget in trainings"),
    ]
    for workload, profile in pairs:
        pair = [each for each in main if (each.workload, each.profile) == (workload, profile)]
        star = "\\*" if workload in CONSTANTS_FIXED_ON else ""
        lines.append(_row(f"{workload}{star}, {profile}", pair))
    lines += ["", *_head("all pairs at a budget of", "in trainings")]
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
            rows.append(_row(f"{_percent(budget)}{name}", some))
    return rows


def _verdicts(answers: Sequence[Answer], budget: float) -> list[str]:
    own = [each for each in answers if each.who == "advise"]
    verdicts = sorted({each.verdict for each in own})
    counted = [f"{sum(e.verdict == verdict for e in own)} {verdict}" for verdict in verdicts]
    spent = statistics.median(each.spent for each in own)
    over = sum(each.spent > 1.0 for each in own)
    within = (statistics.fmean(each.regret <= most for each in own) for most in (0.05, 0.15))
    regrets = (
        f"{verdict} {_both([each for each in own if each.verdict == verdict], 'advise')}"
        for verdict in verdicts
    )
    return [
        f"Verdicts at {_percent(budget)}: {', '.join(counted)}. Spent: {_percent(spent)} of "
        f"the budget (median); more than all of it in {over} of {len(own)}. At most 5 % and 15 % "
        f"are lost by {' and '.join(map(_percent, within))} of them. Regret by verdict: "
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
    return quantile((each.regret for each in answers if each.who == who), 0.5)


def _both(answers: Sequence[Answer], who: str) -> str:
    regrets = [each.regret for each in answers if each.who == who]
    return f"{_percent(quantile(regrets, 0.5))} / {_percent(quantile(regrets, 0.9))}"


def _trainings(answers: Sequence[Answer]) -> str:
    reference = statistics.median(each.reference_trainings for each in answers)
    tuned = statistics.median(each.tuned_trainings for each in answers)
    return f"{reference:.3g} ({tuned:.3g} tuned)"


def _percent(value: float) -> str:
    return "fails" if math.isinf(value) else f"{round(100 * value)} %"


def _head(name: str, budget: str) -> list[str]:
    cells = [name, budget, "advise", *COLUMNS]
    return ["| " + " | ".join(cells) + " |", "|" + "---|" * len(cells)]


def _row(name: str, answers: Sequence[Answer]) -> str:
    cells = [name, _trainings(answers), *(_both(answers, who) for who in ("advise", *COLUMNS))]
    return "| " + " | ".join(cells) + " |"


def _document(answers: Sequence[Answer], draws: int) -> dict[str, object]:
    return {
        "command": "python benchmarks/regret.py",
        "draws": draws,
        "constants_fixed_on": CONSTANTS_FIXED_ON,
        "null": "a regret: infinite, the choice misses the target or was not recorded",
        "columns": [each.name for each in fields(Answer)],
        "answers": [[_plain(value) for value in astuple(each)] for each in answers],
    }


def _plain(value: object) -> object:
    """Three digits of a number, None for what JSON has no number for."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.3g}") if math.isfinite(value) else None


def main() -> None:
    recorded = sorted(path.name.removesuffix(".csv.gz") for path in GRIDS.glob("*.csv.gz"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", choices=recorded, default=recorded)
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=PROFILES)
    parser.add_argument("--budgets", nargs="+", type=float, default=BUDGETS)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    started_s = time.monotonic()
    pairs = [(workload, profile) for workload in arguments.workloads for profile in PROFILES]
    pairs = [pair for pair in pairs if pair[1] in arguments.profiles]
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = [
            pool.submit(answers_of, *pair, arguments.budgets, arguments.draws) for pair in pairs
        ]
        answers = [answer for job in jobs for answer in job.result()]
    print(table(answers))
    arguments.out.write_text(
        json.dumps(_document(answers, arguments.draws), separators=(",", ":")) + "\n"
    )
    print(f"\n{time.monotonic() - started_s:.0f} s; written: {arguments.out}")


if __name__ == "__main__":
    main()
