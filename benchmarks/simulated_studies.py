"""Do the advice's intervals and chances keep their word? Studies whose truth is known.

    python -m benchmarks.simulated_studies [--kinds law valley ...] [--studies 40] [--workers 1 2]

Each study draws a workload and a device of its kind (`simulated_kinds`), lets the real advisor run
on it, and compares what it says with the truth: B_crit with the law at the minimum over rates, the
expected time with the true mean of what it names, and the gain and the chance with five further
trainings of that and of the reference. What is named may not be slower than the reference, nor,
where whole trainings end, end with over 5 % more errors. Where nothing is named, the reference
stays. Budgets are in trainings of the reference batch size at its best rate. Prints a table in
Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from benchmarks.regret.harness import both, head, percent, row
from benchmarks.regret.situation import MOST_MISSES
from benchmarks.simulated_kinds import BATCH_SIZES, KINDS, Device
from tests.reference.side_by_side_engine import SideBySideEngine
from tests.reference.simulated_engine import METRIC, N_TRAIN, Truth

from batchlab.advice.advice import Advice, Configuration, Option, Question
from batchlab.advice.advisor import advise
from batchlab.belief.margin import MARGIN_SHARE
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Target

REFERENCE = Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.01)
RESULTS = Path(__file__).parent / "results" / "simulated_studies.json"
N_FURTHER = 5


@dataclass(frozen=True, kw_only=True)
class Study:
    """One simulated study and what came of it."""

    truth: Truth
    device: Device
    advice: Advice
    seed: int

    @property
    def named(self) -> Configuration:
        """What to train with after the study."""
        return self.advice.recommendation or REFERENCE

    def time_s(self, batch_size: int, learning_rate: float) -> float:
        """The true mean time to the level; infinite: it is never met."""
        truth, target = self.truth, self.advice.target
        if truth.end is None:
            steps = truth.steps(batch_size, learning_rate)
        elif target is None or math.isinf(truth.steps(batch_size, learning_rate)):
            return math.inf
        else:
            steps = truth.steps_to(target.value, batch_size, learning_rate)
        return steps * self.device[batch_size]

    def ends_worse(self, batch_size: int, learning_rate: float) -> bool:
        """Whether its trainings truly end worse than the reference's by more than the margin."""
        if self.truth.end is None:
            return False
        own = self.truth.end(REFERENCE.batch_size, REFERENCE.learning_rate)
        return own - self.truth.end(batch_size, learning_rate) > MARGIN_SHARE * (1 - own)

    def regret(self) -> float:
        """How much longer what is named truly takes than the best that ends no worse."""
        best = [(size, self.truth.best_rate_at(size)) for size in BATCH_SIZES]
        least_s = min(
            (self.time_s(*cell) for cell in best if not self.ends_worse(*cell)), default=math.inf
        )
        cell = self.named.batch_size, self.named.learning_rate
        if self.ends_worse(*cell) or math.isinf(least_s):
            return math.inf
        return self.time_s(*cell) / least_s - 1

    def further(self, configuration: Configuration) -> tuple[float, float]:
        """Mean time to the level and mean end of five further trainings; without an end that is 1.

        A training that misses the level counts as if it had met it at its end, as in the record of
        regret. With more than half of them missed the time is infinite.
        """
        truth, target = self.truth, self.advice.target
        size, rate = configuration.batch_size, configuration.learning_rate
        stream = np.random.default_rng([self.seed, size, round(1e9 * rate)])
        factors = np.exp(truth.noise * stream.standard_normal(N_FURTHER))
        if truth.end is None:
            return truth.steps(size, rate) * float(factors.mean()) * self.device[size], 1.0
        assert target is not None
        ends = truth.end(size, rate) + truth.end_noise * stream.standard_normal(N_FURTHER)
        steps = factors * [
            replace(truth, end=lambda *_, end=end: end).steps_to(target.value, size, rate)
            for end in ends
        ]
        missed = np.isinf(steps)
        if missed.mean() <= MOST_MISSES:
            steps[missed] = self.whole_steps(size)
        return float(steps.mean()) * self.device[size], float(ends.mean())

    def whole_steps(self, batch_size: int) -> float:
        """Steps of a whole training; infinite where none was seen."""
        endings = self.advice.endings
        epochs = math.inf if endings is None else endings.own.epochs
        return epochs * N_TRAIN / batch_size


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one study said, and what was so.

    Attributes:
        kind: of the workload and the device.
        budget: in trainings of the reference batch size at its best rate.
        n_workers: how many runs went side by side.
        seed: of the study.
        is_named: whether another configuration than the reference was named.
        batch_size: what was named, or the reference's.
        learning_rate: its rate.
        regret: of what was named; infinite: it ends worse, or misses the level.
        is_slower: whether it is truly slower than the reference.
        ends_worse: whether it truly ends worse by more than the margin.
        chance: as stated; None: the reference stays.
        was_so: whether five further trainings of it were neither slower nor ended worse.
        b_crit: whether the interval of the critical batch size holds it; None: there is none.
        time: whether the interval of the expected time holds it.
        gain: whether the interval of the gain holds that of five further trainings.
        spent: trainings of the reference batch size at its best rate.
        n_trials: training runs.
    """

    kind: str
    budget: float
    n_workers: int
    seed: int
    is_named: bool
    batch_size: int
    learning_rate: float
    regret: float
    is_slower: bool
    ends_worse: bool
    chance: float | None
    was_so: bool
    b_crit: bool | None
    time: bool | None
    gain: bool | None
    spent: float
    n_trials: int


def question(
    device: Device, budget_s: float, target: float | None, planned_epochs: float | None
) -> Question:
    """The question as a user would ask it, with step times known to 1 %."""
    return Question(
        objective="time",
        metric=METRIC,
        better="higher",
        target=None if target is None else Target(metric=METRIC, value=target, better="higher"),
        target_origin="pilot" if target is None else "given",
        reference=REFERENCE,
        options=tuple(
            Option(
                batch_size=size,
                micro_batch_size=size,
                step_s=Estimate.of(
                    device[size], interval=(0.99 * device[size], 1.01 * device[size]), n=8
                ),
                peak_bytes=100_000_000 + 1000 * size,
            )
            for size in BATCH_SIZES
        ),
        n_train=N_TRAIN,
        budget_s=budget_s,
        planned_epochs=planned_epochs,
    )


def run_study(kind: str, seed: int, budget: float, n_workers: int = 1) -> Study:
    """Let the advisor loose on one drawn workload and device."""
    truth = KINDS[kind].truth(seed)
    device = KINDS[kind].device(truth, seed)
    budget_s = budget * truth.best_steps(64) * device[64]
    engine = SideBySideEngine(
        truth=truth, step_s=device.__getitem__, salt=seed, n_workers=n_workers
    )
    target = None if truth.end is not None else truth.target
    asked = question(device, budget_s, target, KINDS[kind].planned_epochs)
    advice = advise(asked, engine)
    return Study(truth=truth, device=device, advice=advice, seed=seed)


def judged(kind: str, seed: int, budget: float, n_workers: int = 1) -> Judged:
    """Run one study, and compare what it says with what is so."""
    study = run_study(kind, seed, budget, n_workers)
    truth, advice, named = study.truth, study.advice, study.named
    cell = named.batch_size, named.learning_rate
    is_named = advice.recommendation is not None
    own_s = study.time_s(REFERENCE.batch_size, REFERENCE.learning_rate)
    was_so, b_crit, time, gain = True, None, None, None
    if is_named:
        (mine_s, end), (reference_s, own_end) = study.further(named), study.further(REFERENCE)
        ends_worse = own_end - end > MARGIN_SHARE * (1 - own_end)
        was_so = mine_s <= reference_s and not ends_worse
        if math.isfinite(reference_s):
            gain = covered(advice.gain, reference_s / mine_s)
    if advice.expected is not None and is_named:
        time = covered(advice.expected.time_to_target_s, study.time_s(*cell))
    if advice.laws is not None and truth.end is None:
        b_crit = covered(advice.laws.b_crit, truth.b_crit)
    return Judged(
        kind=kind,
        budget=budget,
        n_workers=n_workers,
        seed=seed,
        is_named=is_named,
        batch_size=cell[0],
        learning_rate=cell[1],
        regret=study.regret(),
        is_slower=study.time_s(*cell) > own_s,
        ends_worse=study.ends_worse(*cell),
        chance=advice.chance,
        was_so=was_so,
        b_crit=b_crit,
        time=time,
        gain=gain,
        spent=advice.spent_s / (truth.best_steps(64) * study.device[64]),
        n_trials=advice.n_trials,
    )


def covered(estimate: Estimate, truth: float) -> bool | None:
    """Whether the interval holds the truth; None where there is none."""
    if estimate.low is None and estimate.high is None:
        return None
    return bool(estimate.holds(truth))


def table(studies: Sequence[Judged]) -> str:
    """A row for each kind, budget and number of workers, as Markdown."""
    lines = head(
        "kind, budget, workers",
        "studies",
        "regret",
        "named",
        "truly slower",
        "end worse",
        "chance stated",
        "was so",
        "B_crit held",
        "time held",
        "gain held",
        "spent",
        "runs",
    )
    groups: dict[str, list[Judged]] = {}
    for each in studies:
        name = f"{each.kind}, {each.budget:g}, {each.n_workers}"
        groups.setdefault(name, []).append(each)
    lines += [row(name, *_cells(some)) for name, some in groups.items()]
    lines.append(row("all", *_cells(studies)))
    return "\n".join(lines)


def _cells(some: Sequence[Judged]) -> list[str]:
    named = [each for each in some if each.is_named]
    return [
        str(len(some)),
        both([each.regret for each in some]),
        str(len(named)),
        str(sum(each.is_slower for each in named)),
        str(sum(each.ends_worse for each in named)),
        _share([each.chance for each in named]),
        _share([each.was_so for each in named]),
        _share([each.b_crit for each in some]),
        _share([each.time for each in named]),
        _share([each.gain for each in named]),
        f"{statistics.median(each.spent for each in some):.0f}",
        f"{statistics.median(each.n_trials for each in some):.0f}",
    ]


def _share(values: Sequence[float | None]) -> str:
    """The mean of those that there are, and of how many it is."""
    known = [value for value in values if value is not None]
    return f"{percent(statistics.fmean(known))} of {len(known)}" if known else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=40, help="of each kind and budget")
    parser.add_argument("--budgets", nargs="+", type=float, default=[60.0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help=f"such as {RESULTS.name}: every study")
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.studies)
    jobs = [
        (kind, seed, budget, n_workers)
        for kind, budget, n_workers, seed in product(
            given.kinds, given.budgets, given.workers, seeds
        )
    ]
    with ProcessPoolExecutor(given.processes) as pool:
        studies = list(pool.map(judged, *zip(*jobs, strict=True), chunksize=5))
    print(table(studies))
    if given.out:
        given.out.write_text(json.dumps(list(map(asdict, studies))) + "\n")


if __name__ == "__main__":
    main()
