"""Do the advice's intervals and verdicts keep their word? Studies whose truth is known.

    python benchmarks/simulated_studies.py --studies 500

Each study draws a workload and a device of its kind (`simulated_kinds`), lets the real advisor run
on it with its real tuner, and compares what it says with the truth: B_crit with the law at the
minimum over rates, expected time and gain with the true means of the configurations it names, the
verdict with the true flat set, and, where whole trainings end, how much worse what it names truly
ends than the better of the reference as it is and tuned.
"""

from __future__ import annotations

import argparse
import json
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from benchmarks.simulated_kinds import BATCH_SIZES, KINDS, Device
from tests.reference.simulated_engine import METRIC, N_TRAIN, SimulatedEngine, Truth

from batchlab.advice.advice import MORE_ERRORS, Advice, Configuration, Option, Question, Verdict
from batchlab.advice.advisor import advise
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Target
from batchlab.words.reasons import reason_text

REFERENCE = Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.01)
DELTA = 0.1
RESULTS = Path(__file__).parent / "results" / "simulated_studies.json"


@dataclass(frozen=True, kw_only=True)
class Study:
    """One simulated study and what came of it."""

    truth: Truth
    device: Device
    advice: Advice

    def cost_s(self, batch_size: int) -> float:
        """The true time to target at the best rate; infinite where that truly ends worse."""
        if self.truth.end is not None:
            return self._late_cost_s(batch_size, self.truth.best_rate_at(batch_size))
        return self.truth.best_steps(batch_size) * self.device[batch_size]

    def _late_cost_s(self, batch_size: int, learning_rate: float) -> float:
        """The true time to the level asked for; infinite where it ends worse or is never met."""
        target = self.advice.target
        if target is None or self._ends_worse(batch_size, learning_rate) > MORE_ERRORS:
            return math.inf
        steps = self.truth.steps_to(target.value, batch_size, learning_rate)
        return steps * self.device[batch_size]

    def flat_set(self) -> list[int]:
        """The batch sizes truly within delta of the best."""
        costs = {size: self.cost_s(size) for size in BATCH_SIZES}
        best = min(costs.values())
        return [size for size in BATCH_SIZES if costs[size] <= (1 + DELTA) * best]

    def truly_steps(self, configuration: Configuration) -> float:
        """True mean steps of a configuration."""
        return self.truth.steps(configuration.batch_size, configuration.learning_rate)

    def truly_s(self, configuration: Configuration) -> float:
        """True mean time of a configuration."""
        size, rate = configuration.batch_size, configuration.learning_rate
        if self.truth.end is not None:
            return self._late_cost_s(size, rate)
        return self.truly_steps(configuration) * self.device[size]

    def ends_worse(self) -> float | None:
        """Of what is named: how many more errors it ends with than the better reference, a share.

        None where nothing is named.
        """
        chosen = self.advice.recommendation
        if chosen is None or self.truth.end is None:
            return None
        return self._ends_worse(chosen.batch_size, chosen.learning_rate)

    def _ends_worse(self, batch_size: int, learning_rate: float) -> float:
        end = self.truth.end
        assert end is not None
        references = [REFERENCE, self.advice.reference_tuned or REFERENCE]
        best = max(end(each.batch_size, each.learning_rate) for each in references)
        return (best - end(batch_size, learning_rate)) / (1 - best)

    def regret(self) -> float | None:
        """How much longer the recommendation truly takes than the best there is."""
        chosen = self.advice.recommendation
        if chosen is None:
            return None
        least_s = min(self.cost_s(size) for size in BATCH_SIZES)
        return math.inf if math.isinf(least_s) else self.truly_s(chosen) / least_s - 1


def question(device: Device, budget_s: float, target: float | None) -> Question:
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
        delta=DELTA,
        budget_s=budget_s,
    )


def run_study(kind: str, seed: int, reference_trainings: float) -> Study:
    """Let the advisor loose on one drawn workload and device."""
    row = KINDS[kind]
    truth = row.truth(seed)
    device = row.device(truth, seed)
    budget_s = reference_trainings * truth.best_steps(64) * device[64]
    engine = SimulatedEngine(truth=truth, step_s=device.__getitem__, salt=seed)
    target = None if truth.end is not None else truth.target
    advice = advise(question(device, budget_s, target), engine)
    return Study(truth=truth, device=device, advice=advice)


def judged(kind: str, seed: int, reference_trainings: float) -> dict[str, object]:
    """One study, as plain values: what was said, what was true."""
    study = run_study(kind, seed, reference_trainings)
    truth, advice, chosen = study.truth, study.advice, study.advice.recommendation
    row: dict[str, object] = {
        "kind": kind,
        "seed": seed,
        "budget": reference_trainings,
        "verdict": advice.verdict,
        "reason": reason_text(advice.reason),
        "n_trials": advice.n_trials,
        "spent": advice.spent_s / (truth.best_steps(64) * study.device[64]),
        "regret": study.regret(),
        "in_flat_set": None if chosen is None else chosen.batch_size in study.flat_set(),
        "batch_size": None if chosen is None else chosen.batch_size,
        "target_origin": advice.target_origin,
    }
    if truth.end is not None:
        row["ends_worse"] = study.ends_worse()
        named = chosen or advice.provisional
        row["slower_than_reference"] = named is not None and study.truly_s(named) > study.truly_s(
            REFERENCE
        )
    if advice.target_origin == "given":
        if advice.laws is not None:
            row["b_crit"] = covered(advice.laws.b_crit, truth.b_crit)
            row["b_crit_one_sided"] = advice.laws.b_crit.estimate is None
        if chosen is not None and advice.expected is not None:
            row["time"] = covered(advice.expected.time_to_target_s, study.truly_s(chosen))
            gain = "gain_of_better" if advice.verdict == "better" else "gain"
            row[gain] = covered(advice.gain, study.truly_s(REFERENCE) / study.truly_s(chosen))
            if advice.reference_tuned is not None:
                row["gain_from_batch_size"] = covered(
                    advice.gain_from_batch_size,
                    study.truly_s(advice.reference_tuned) / study.truly_s(chosen),
                )
    return row


def covered(estimate: Estimate, truth: float) -> bool | None:
    """Whether the interval holds the truth; None where there is none (or none is needed)."""
    if estimate.low is None and estimate.high is None:
        return None
    if estimate.low == estimate.high:
        return None  # the same configuration against itself
    return estimate.holds(truth)


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    """Shares over the studies of one kind and budget."""
    n = len(rows)
    result: dict[str, object] = {"studies": n}
    for verdict in get_args(Verdict):
        result[verdict] = sum(row["verdict"] == verdict for row in rows) / n
    wrong = sum(row["verdict"] == "recommend" and row["in_flat_set"] is False for row in rows)
    right = sum(row["verdict"] == "recommend" and row["in_flat_set"] is True for row in rows)
    result["recommend_right"], result["recommend_wrong"] = right / n, wrong / n
    regrets = [float(str(row["regret"])) for row in rows if row["regret"] is not None]
    if regrets:
        result["regret_median"] = float(np.median(regrets))
        result["regret_p90"] = float(np.quantile(regrets, 0.9))
    worse = [float(str(row["ends_worse"])) for row in rows if row.get("ends_worse") is not None]
    if worse:
        result["named"] = len(worse) / n
        result["named_ends_worse"] = sum(each > MORE_ERRORS for each in worse) / n
        result["ends_worse_p90"] = float(np.quantile(worse, 0.9))
    if any("slower_than_reference" in row for row in rows):
        slower = sum(bool(row["slower_than_reference"]) for row in rows)
        result["named_or_provisional_slower_than_reference"] = slower / n
    for name in ("b_crit", "time", "gain", "gain_of_better", "gain_from_batch_size"):
        known = [row[name] for row in rows if row.get(name) is not None]
        if known:
            result[f"{name}_coverage"] = sum(map(bool, known)) / len(known)
            result[f"{name}_n"] = len(known)
    one_sided = [row for row in rows if row.get("b_crit_one_sided")]
    known = [row["b_crit"] for row in one_sided if row.get("b_crit") is not None]
    if known:
        result["b_crit_one_sided_coverage"] = sum(map(bool, known)) / len(known)
        result["b_crit_one_sided_n"] = len(known)
    result["spent_median"] = float(np.median([float(str(row["spent"])) for row in rows]))
    result["n_trials_median"] = float(np.median([float(str(row["n_trials"])) for row in rows]))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=500, help="of each kind and budget")
    parser.add_argument("--budgets", default="30,60,120", help="in reference trainings, tuned")
    parser.add_argument("--kinds", default="law,valley,equal")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help=f"such as {RESULTS.name}")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    table = {}
    with ProcessPoolExecutor(given.workers) as pool:
        for kind in given.kinds.split(","):
            for budget in map(float, given.budgets.split(",")):
                seeds = range(given.first_seed, given.first_seed + given.studies)
                n = len(seeds)
                rows = list(pool.map(judged, [kind] * n, seeds, [budget] * n, chunksize=5))
                table[f"{kind} {budget:g}"] = found = summary(rows)
                print(f"{kind}, {budget:g} reference trainings")
                for name, value in found.items():
                    print(
                        f"  {name:28s} {value:.3f}"
                        if isinstance(value, float)
                        else f"  {name:28s} {value}"
                    )
    if given.json:
        given.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
