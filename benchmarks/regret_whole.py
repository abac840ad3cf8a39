"""The second record of regret: what the advice is worth where no target is given.

    python benchmarks/regret_whole.py [--workloads mlp-narrow ...] [--draws 10] [--processes 1]
        [--octaves -3 -1 0]

For each workload x step times x budget x draw the advice trains the reference to its end, takes the
level from it, and names a batch size that gets there fastest and ends no worse, or cannot tell. It
sees some of the seeds; what it names, and the optimum chosen on those very seeds, are valued on the
others. Regret is how much longer what it names takes to the level than the optimum. Where it names
nothing, the reference stays.

With `--octaves` the user's rate lies so far from the best one of its batch size (the one that ends
best), instead of where it was recorded.

Every habit is charged for what it runs, as the advice is. The advice takes its step times from a
profile that is off by a few per cent, and pays what the steps really take.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

# Run as a script: what lies beside it goes by the name that it has from the root.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.recorded.grid import CellKey, RecordedGrid
from benchmarks.regret.harness import arguments_of, question_of, write_answers
from benchmarks.regret.whole_habits import WHOLE_HABITS
from benchmarks.regret.whole_situation import (
    WholeSituation,
    own_configuration,
    profiles_of,
    reached_by_others,
    scatter_of_ends,
    whole_situation,
)
from benchmarks.regret.whole_table import ADVISE, HOWEVER_UNSURE, WholeAnswer, tables

from batchlab.advice.advice import Advice, Configuration, Question
from batchlab.advice.advisor import advise
from batchlab.advice.answer import answered
from batchlab.advice.chance import Seen, seen_in, seen_of
from batchlab.advice.scaled_step import SCALED_STEPS
from batchlab.errors import BatchlabError, TrialError

GRIDS = Path(__file__).parent / "regret" / "whole"
# Recorded after the constants stood; answered when named, so that no constant is chosen on them.
LATER_GRIDS = Path(__file__).parent / "regret" / "later"
RESULTS = Path(__file__).parent / "results" / "regret_whole.json.gz"
# In trainings of the tuned reference to the level. The end of a whole training is ten times as far
# off, so that the advice sees it with the last of them, if at all.
BUDGETS = (4.0, 9.0, 18.0, 36.0, 75.0, 150.0, 300.0)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What was named, by the advice or by a habit; what it says of the fields is there."""

    cell: CellKey | None
    spent_s: float
    named_as: str = "recommendation"
    verdict: str = ""
    origin: str = ""
    problem: str = ""
    seen: Seen | None = None
    gain: float | None = None
    scaled: int | None = None
    after_worse: bool = False


def asked(situation: WholeSituation, budget_s: float) -> Question:
    """Which batch size trains as well as the reference in the least time?"""
    header = situation.header
    return question_of(
        header,
        situation.timed,
        budget_s,
        learning_rate=situation.reference[1],
        longest_epochs=header.epochs,
    )


def advised(situation: WholeSituation, budget_s: float) -> tuple[Reply, Reply]:
    """Ask the advice: what it names, and what it would if a first guess were named too."""
    engine, answers = situation.engine(), []

    def noted(*arguments: object, **named: object) -> Advice:
        answers.append(answered(*arguments, **named))
        return answers[-1]

    try:
        with mock.patch("batchlab.advice.advisor.answered", noted):
            advice = advise(asked(situation, budget_s), engine)
    except BatchlabError as error:
        reply = Reply(
            cell=situation.reference,
            spent_s=engine.spent_s(),
            named_as="reference",
            verdict="error",
            problem=str(error),
        )
        return reply, reply
    named_as = "provisional" if advice.recommendation is None else "recommendation"
    if any(each.code in SCALED_STEPS for each in advice.caveats):
        named_as = "scaled"
    named = _reply(situation, advice, advice.named, named_as=named_as, spent_s=engine.spent_s())
    guess = first_guess(advice)
    if guess is None:
        return named, named
    # What was seen of it stands in the answer before a scaled step took its place.
    first = answers[0]
    guessed = _reply(situation, first, guess, named_as="provisional", spent_s=engine.spent_s())
    return named, guessed


def _reply(
    situation: WholeSituation,
    advice: Advice,
    chosen: Configuration | None,
    *,
    named_as: str,
    spent_s: float,
) -> Reply:
    cell: CellKey | None = situation.reference
    if chosen is not None:
        cell = situation.grid.cell(chosen.batch_size, chosen.learning_rate)
    is_same = chosen is None or cell == situation.reference
    seen = None if chosen is None or is_same else seen_of(advice, chosen)
    scaled, after_worse = None, False
    if named_as == "scaled" and chosen is not None:
        after_worse = sum(step.did.code == "trained_scaled" for step in advice.steps) > 1
        scaled = chosen.batch_size // advice.reference.batch_size
        seen = None
        if advice.endings is not None and chosen.is_same(advice.endings.recommended):
            seen = seen_in(advice.endings, advice.endings.recommended)
    return Reply(
        cell=cell,
        spent_s=spent_s,
        named_as="reference" if is_same else named_as,
        verdict=advice.verdict,
        origin=advice.target_origin,
        seen=seen,
        gain=advice.gain.estimate,
        scaled=scaled,
        after_worse=after_worse,
    )


def first_guess(advice: Advice) -> Configuration | None:
    """What was too unsure to be named."""
    for caveat in advice.caveats:
        if caveat.code == "first_guess":
            size, rate = caveat.named["size"], caveat.named["rate"]
            return Configuration(batch_size=size, micro_batch_size=size, learning_rate=rate)
    return None


def replies(situation: WholeSituation, budget_s: float, draw: int) -> Iterator[tuple[str, Reply]]:
    """What the advice names, and every habit."""
    yield from zip((ADVISE, HOWEVER_UNSURE), advised(situation, budget_s), strict=True)
    for who, habit in WHOLE_HABITS.items():
        named = habit(situation, budget_s, draw)
        is_same = named.cell == situation.reference
        yield (
            who,
            Reply(
                cell=named.cell,
                spent_s=named.spent_s,
                named_as="reference" if is_same else "recommendation",
            ),
        )


def answer_to(
    drawn: WholeSituation, reply: Reply, *, who: str, draw: int, budget_s: float
) -> WholeAnswer:
    """What a reply was worth, on the seeds that judge."""
    cell, seen = reply.cell, reply.seen
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
        named_as=reply.named_as,
        verdict=reply.verdict,
        origin=reply.origin,
        regret=drawn.regret(cell),
        of_reference=1.0 if time_s == reference_s else time_s / reference_s,
        of_reference_error=0.0 if cell is None else drawn.time_error(cell, drawn.judging),
        shortfall=math.inf if cell is None else drawn.shortfall(cell, drawn.judging),
        shortfall_of_own=math.inf if cell is None else drawn.shortfall_of_own(cell, drawn.judging),
        shortfall_error=0.0 if cell is None else drawn.shortfall_error(cell, drawn.judging),
        is_optimum=cell == drawn.optimum,
        spent=reply.spent_s / budget_s,
        problem=reply.problem,
        ends_seen=None if seen is None else seen.n,
        seen_worse=None if seen is None else seen.worse,
        seen_scatter=None if seen is None else seen.scatter,
        gain=reply.gain,
        scaled=reply.scaled,
        after_worse=reply.after_worse,
    )


def answers_of(
    path: Path, profile: str, budgets: Sequence[float], draws: int, octaves: int | None = None
) -> list[WholeAnswer]:
    """All answers for one grid and its step times.

    Args:
        path: of the grid.
        profile: the step times.
        budgets: in trainings of the tuned reference to the level.
        draws: splits of the seeds.
        octaves: how far the user's rate is from the best one of its batch size; None: the recorded
            rate. No answers if that rate was not recorded.
    """
    grid = RecordedGrid.read(path)
    answers = []
    for draw in range(draws):
        drawn = whole_situation(grid, profile, draw=draw)
        if octaves is not None:
            try:
                drawn = drawn.with_rate(octaves)
            except TrialError:
                return []
        for budget in budgets:
            budget_s = budget * drawn.tuned_reference_s
            answers += [
                answer_to(drawn, reply, who=who, draw=draw, budget_s=budget_s)
                for who, reply in replies(drawn, budget_s, draw)
            ]
    return answers


def path_of(workload: str) -> Path:
    """Where it was recorded: among those that constants were chosen on, or later."""
    early = GRIDS / f"{workload}.csv.gz"
    return early if early.exists() else LATER_GRIDS / early.name


def main() -> None:
    arguments = arguments_of(
        __doc__.splitlines()[0],
        grids=GRIDS,
        later_grids=LATER_GRIDS,
        budgets=BUDGETS,
        draws=10,
        processes=1,
        out=RESULTS,
    )
    started_s = time.monotonic()
    jobs = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for workload in arguments.workloads:
            path = path_of(workload)
            for profile in profiles_of(RecordedGrid.read(path)):
                if profile in arguments.profiles:
                    asked_with = arguments.budgets, arguments.draws
                    for octaves in arguments.octaves or [None]:
                        jobs.append(pool.submit(answers_of, path, profile, *asked_with, octaves))
        answers = [answer for job in jobs for answer in job.result()]
    print(tables(answers))
    print(
        "\nOf the reference's trainings, so many reach the level that one sets; the worse of two:\n"
    )
    for workload in arguments.workloads:
        grid = RecordedGrid.read(path_of(workload))
        one, two = (reached_by_others(grid, n_seeds=n) for n in (1, 2))
        scatter = scatter_of_ends(grid, own_configuration(grid))
        print(f"- {workload}: {one:.0%}; {two:.0%}; their ends scatter by {scatter:.2g} margins")
    write_answers(
        arguments.out,
        answers,
        command="python benchmarks/regret_whole.py",
        draws=arguments.draws,
        null="a number: infinite, what was named misses the level or was not recorded",
    )
    print(f"\n{time.monotonic() - started_s:.0f} s; written: {arguments.out.name}")


if __name__ == "__main__":
    main()
