"""Do the advice's intervals and verdicts keep their word? Studies whose truth is known.

    python benchmarks/simulated_studies.py --studies 500

Each study draws a workload (S_min, B_crit from far below to far above the candidates, the scatter
of seeds, the shape of the learning-rate basin, how the best rate follows the batch size) and a
device, lets the real advisor run on it with its real tuner, and compares what it says with the
truth: B_crit with the law at the minimum over rates, expected time and gain with the true means of
the configurations it names, the verdict with the true flat set. The devices: "law" has a step time
that is flat up to a knee and linear after it; on "valley" everything but one to three batch sizes
is at least 30 % worse; on "equal" all batch sizes take the same time. "noisy" is "law" with seeds
that scatter by 15 to 30 % instead of 3 to 12 %.
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
from tests.reference.simulated_engine import METRIC, N_TRAIN, SimulatedEngine, Truth

from batchlab.advice.advice import Advice
from batchlab.advice.advisor import advise
from batchlab.advice.parts import Configuration, Verdict
from batchlab.advice.question import Option, Question
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Target
from batchlab.words.reasons import reason_text

BATCH_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
REFERENCE = Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.01)
DELTA = 0.1
Device = dict[int, float]  # seconds a step by batch size
RESULTS = Path(__file__).parent / "results" / "simulated_studies.json"


@dataclass(frozen=True, kw_only=True)
class Study:
    """One simulated study and what came of it."""

    truth: Truth
    device: Device
    advice: Advice

    def costs_of(self, batch_size: int) -> float:
        """The true time to target at the best rate."""
        return self.truth.best_steps(batch_size) * self.device[batch_size]

    def flat_set(self) -> list[int]:
        """The batch sizes truly within delta of the best."""
        costs = {size: self.score(size) for size in BATCH_SIZES}
        best = min(costs.values())
        return [size for size in BATCH_SIZES if costs[size] <= (1 + DELTA) * best]

    def truly_steps(self, configuration: Configuration) -> float:
        """True mean steps of a configuration."""
        return self.truth.steps(configuration.batch_size, configuration.learning_rate)

    def truly_s(self, configuration: Configuration) -> float:
        """True mean time of a configuration."""
        return self.truly_steps(configuration) * self.device[configuration.batch_size]

    def regret(self) -> float | None:
        """How much longer the recommendation truly takes than the best there is."""
        chosen = self.advice.recommendation
        if chosen is None:
            return None
        return self.truly_s(chosen) / min(self.score(size) for size in BATCH_SIZES) - 1


def question(device: Device, budget_s: float, target: float) -> Question:
    """The question as a user would ask it, with step times known to 1 %."""
    return Question(
        objective="time",
        metric=METRIC,
        better="higher",
        target=Target(metric=METRIC, value=target, better="higher"),
        target_origin="given",
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


def drawn(seed: int, scatter: tuple[float, float]) -> Truth:
    """A workload drawn over everything that is plausible, its seeds' scatter between two bounds."""
    rng = np.random.default_rng(seed)
    b_crit = float(np.exp(rng.uniform(np.log(2), np.log(40_000))))
    e_min = float(np.exp(rng.uniform(np.log(30_000), np.log(300_000))))
    return Truth(
        s_min=e_min / b_crit,
        b_crit=b_crit,
        best_rate=0.01 * 2 ** rng.uniform(-1, 4),
        rate_exponent=rng.uniform(0.3, 1.0),
        noise=rng.uniform(*scatter),
        left=rng.uniform(0.04, 0.12),
        right=rng.uniform(0.08, 0.3),
        cliff_octaves=rng.uniform(1.2, 3.0),
    )


def all_equal(truth: Truth, seed: int) -> Device:
    """A device on which the time to target is the same at every batch size."""
    return {size: 2.0 / truth.best_steps(size) for size in BATCH_SIZES}


def one_valley(truth: Truth, seed: int) -> Device:
    """A device with one to three good batch sizes, everything else at least 30 % worse."""
    rng = np.random.default_rng([seed, 1])
    place, width = int(rng.integers(0, len(BATCH_SIZES))), int(rng.integers(1, 4))
    good = BATCH_SIZES[place : place + width]
    device = {}
    for size in BATCH_SIZES:
        octaves = min(abs(math.log2(size / other)) for other in good)
        time_s = 2.0 if octaves == 0 else 2.6 * 1.15 ** (octaves - 1)
        device[size] = time_s / truth.best_steps(size)
    return device


def knee(truth: Truth, seed: int) -> Device:
    """A device whose step takes a millisecond up to a knee and grows with the batch after it."""
    at = float(np.random.default_rng([seed, 2]).choice([16, 32, 256, 1024, 8192]))
    return {size: 1e-3 * max(1.0, size / at) for size in BATCH_SIZES}


USUAL, WIDE = (0.03, 0.12), (0.15, 0.30)  # scatter of log steps from seed to seed
KINDS = {
    "law": (knee, USUAL),
    "valley": (one_valley, USUAL),
    "equal": (all_equal, USUAL),
    "noisy": (knee, WIDE),
}


def run_study(kind: str, seed: int, reference_trainings: float) -> Study:
    """Let the advisor loose on one drawn workload and device."""
    device_of, scatter = KINDS[kind]
    truth = drawn(seed, scatter)
    device = device_of(truth, seed)
    budget_s = reference_trainings * truth.best_steps(64) * device[64]
    engine = SimulatedEngine(truth=truth, step_s=device.__getitem__, salt=seed)
    advice = advise(question(device, budget_s, truth.target), engine)
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
        "spent": advice.spent_s / study.score(64),
        "regret": study.regret(),
        "in_flat_set": None if chosen is None else chosen.batch_size in study.flat_set(),
        "batch_size": None if chosen is None else chosen.batch_size,
        "target_origin": advice.target_origin,
    }
    if advice.target_origin == "given":
        if advice.laws is not None:
            row["b_crit"] = covered(advice.laws.b_crit, truth.b_crit)
            row["b_crit_one_sided"] = advice.laws.b_crit.estimate is None
        if chosen is not None and advice.expected is not None:
            row["time"] = covered(advice.expected.time_to_target_s, study.truly_s(chosen))
            row["gain"] = covered(advice.gain, study.truly_s(REFERENCE) / study.truly_s(chosen))
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
    for name in ("b_crit", "time", "gain", "gain_from_batch_size"):
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
