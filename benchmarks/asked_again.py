"""What more time changes: the same question asked again, into the store of the first answer.

    python benchmarks/asked_again.py [--workloads softmax ...] [--kinds law ...] [--draws 1]

Each study is asked at a budget, then with twice as much, and where it said "about X more may settle
it" with exactly that. Runs of the first are had for nothing. Counted are the answers that name
something else, and those of a higher grade: a higher verdict, or a chance in higher words.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# Run as a script: what lies beside it goes by the name that it has from the root.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.whole_situation import WholeSituation, profiles_of, whole_situation
from benchmarks.regret_whole import BUDGETS, GRIDS, LATER_GRIDS, asked, path_of
from benchmarks.simulated_kinds import KINDS, Device
from benchmarks.simulated_studies import question
from tests.reference.simulated_engine import SimulatedEngine, Truth

from batchlab.advice.advice import Advice, Configuration, Question
from batchlab.advice.advisor import advise
from batchlab.advice.chance import LIKELY, SURE
from batchlab.errors import BatchlabError

SIMULATED_BUDGETS = (4.0, 12.0, 30.0, 60.0)  # in reference trainings, tuned
_VERDICTS = {"cannot_tell": 0, "better": 1, "recommend": 2, "indifferent": 2}


@dataclass(frozen=True, kw_only=True)
class Again:
    """One question and its answers, with the true seconds of what each names.

    Attributes:
        about: of what.
        first: the answer.
        second: with twice the budget.
        settled: with as much more as was said; None: nothing was.
    """

    about: str
    first: Advice
    second: Advice
    settled: Advice | None
    true_s: tuple[float, float]  # of what the first and the second name


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A recorded workload's question."""

    situation: WholeSituation

    def question(self, budget_s: float) -> Question:
        """What is asked."""
        return asked(self.situation, budget_s)

    def answer(self, asked: Question, store: dict) -> Advice:  # type: ignore[type-arg]
        """The answer; `store` has what was run before, and has more then."""
        engine: RecordedEngine = self.situation.engine()
        engine._paid = store
        return advise(asked, engine)

    def true_s(self, named: Configuration | None) -> float:
        """The true seconds of what was named; nan: not known."""
        cell = named and self.situation.grid.cell(named.batch_size, named.learning_rate)
        return self.situation.time_s(cell, self.situation.judging) if cell else math.nan


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A simulated workload's question."""

    truth: Truth
    device: Device
    seed: int

    def question(self, budget_s: float) -> Question:
        """What is asked."""
        return question(
            self.device, budget_s, None if self.truth.end is not None else self.truth.target
        )

    def answer(self, asked: Question, store: dict) -> Advice:  # type: ignore[type-arg]
        """The answer; `store` has what was run before, and has more then."""
        engine = SimulatedEngine(
            truth=self.truth, step_s=self.device.__getitem__, salt=self.seed, _done=store
        )
        return advise(asked, engine)

    def true_s(self, named: Configuration | None) -> float:
        """The true seconds of what was named; nan: not known."""
        if named is None:
            return math.nan
        return (
            self.truth.steps(named.batch_size, named.learning_rate) * self.device[named.batch_size]
        )


def again(what: Recorded | Simulated, budget_s: float, about: str) -> Again:
    """Ask it, and again with more."""
    store: dict = {}  # type: ignore[type-arg]
    first = what.answer(what.question(budget_s), store)
    second = what.answer(what.question(2 * budget_s), dict(store))
    settled = None
    if first.more_budget_s is not None:
        settled = what.answer(what.question(budget_s + first.more_budget_s), dict(store))
    return Again(
        about=about,
        first=first,
        second=second,
        settled=settled,
        true_s=(what.true_s(first.named), what.true_s(second.named)),
    )


def recorded(workload: str, profile: str, draw: int) -> list[Again]:
    """All budgets of a recorded workload."""
    situation = whole_situation(RecordedGrid.read(path_of(workload)), profile, draw=draw)
    what, found = Recorded(situation=situation), []
    for budget in BUDGETS:
        try:
            found.append(again(what, budget * situation.tuned_reference_s, f"{workload} {budget}"))
        except BatchlabError as error:
            print(f"{workload}, {profile}, {budget}: {error}", file=sys.stderr)
    return found


def simulated(kind: str, budget: float, seed: int) -> list[Again]:
    """A simulated workload at a budget."""
    truth = KINDS[kind].truth(seed)
    device = KINDS[kind].device(truth, seed)
    what = Simulated(truth=truth, device=device, seed=seed)
    return [again(what, budget * truth.best_steps(64) * device[64], f"{kind} {budget}")]


def verdict_grade(advice: Advice) -> int:
    return _VERDICTS[advice.verdict]


def chance_grade(advice: Advice) -> int:
    return sum((advice.chance or 0.0) >= least for least in (LIKELY, SURE))


def is_higher(later: Advice, first: Advice) -> bool:
    """Whether its verdict or its chance is of a higher grade."""
    return verdict_grade(later) > verdict_grade(first) or chance_grade(later) > chance_grade(first)


def change(first: Advice, later: Advice) -> str:
    """What became of the name."""
    if first.named is None or later.named is None or first.named.is_same(later.named):
        return "the same"
    own = [each.named is not None and each.named.is_same(each.reference) for each in (first, later)]
    if any(own):
        return "from or to yours"
    if is_higher(later, first):
        return "of a higher grade"
    is_rate = first.named.batch_size == later.named.batch_size
    return "another rate" if is_rate else "another batch size"


def said(studies: list[Again]) -> Iterator[str]:
    """The counts."""
    yield f"{len(studies)} questions asked again with twice the budget"
    changes = Counter(change(each.first, each.second) for each in studies)
    yield "  " + ", ".join(f"{n} {what}" for what, n in sorted(changes.items()))
    changed = [each for each in studies if change(each.first, each.second) != "the same"]
    ratios = [each.true_s[1] / each.true_s[0] for each in changed]
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    if known:
        slower, sooner = (sum(r > 1.1 for r in known), sum(r < 1 / 1.1 for r in known))
        yield f"    truly: {sooner} sooner by more than 10 %, {slower} slower, of {len(known)}"
    told = [(each.first, each.settled) for each in studies if each.settled is not None]
    for origin in ("given", "pilot", "easier"):
        for reason in sorted({first.reason.code for first, _ in told}):
            some = [
                (first, later)
                for first, later in told
                if (first.target_origin, first.reason.code) == (origin, reason)
            ]
            if some:
                yield f"    {origin}, {reason}: {_settled(some)}"
    yield f"  of those that said how much more may settle it: {_settled(told)}"


def _settled(told: list[tuple[Advice, Advice]]) -> str:
    """How many were right that so much more may settle it."""
    up = sum(is_higher(later, first) for first, later in told)
    tenfold = sum(
        (later.more_budget_s or 0.0) > 10 * (first.more_budget_s or math.inf)
        for first, later in told
    )
    return f"{up} of {len(told)} have a higher grade, {tenfold} ask for ten times as much"


def main() -> None:
    names = sorted(path.name.partition(".")[0] for path in GRIDS.glob("*.csv.gz"))
    later = sorted(path.name.partition(".")[0] for path in LATER_GRIDS.glob("*.csv.gz"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="*", default=names + later)
    parser.add_argument("--profiles", nargs="*", default=None)
    parser.add_argument("--kinds", nargs="*", default=["law", "valley", "noisy", "end"])
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.processes) as pool:
        jobs = {"recorded": [], "simulated": []}
        for draw in range(given.draws):
            for workload in given.workloads:
                for profile in profiles_of(RecordedGrid.read(path_of(workload))):
                    if given.profiles is None or profile in given.profiles:
                        jobs["recorded"].append(pool.submit(recorded, workload, profile, draw))
            for kind in given.kinds:
                for budget in SIMULATED_BUDGETS:
                    jobs["simulated"].append(pool.submit(simulated, kind, budget, draw))
        for name, submitted in jobs.items():
            studies = [study for job in submitted for study in job.result()]
            if studies:
                print(f"{name}: " + "\n".join(said(studies)), flush=True)


if __name__ == "__main__":
    main()
