"""How often the 95 % intervals of the steps-to-target law hold the truth, on made-up studies.

    python -m benchmarks.law_coverage [--studies 500]

Prints two tables of benchmarks/results/coverage.md: of made-up studies, and of those that are
evaluated seldom.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from tests.reference.steps_to_target import MARKED, STUDIES, MadeUpStudy

from batchlab.laws.steps import fit_steps_to_target
from batchlab.records.estimate import Estimate


def coverage(study: MadeUpStudy, *, n_studies: int, seed: int) -> dict[str, float]:
    """Return shares of studies: intervals that hold the truth, and laws that don't hold.

    "Expected" are the steps of the curve at each batch size, "measured" those of its own runs.
    """
    rng = np.random.default_rng(seed)
    hits: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    for _ in range(n_studies):
        seen, truth = study.draw(rng)
        fit = fit_steps_to_target(seen)
        hits["withheld"].append(not fit.law_holds)
        if _is_told(fit.b_crit):
            hits["B_crit"].append(fit.b_crit.holds(study.b_crit))
        hits["a number"].append(fit.b_crit.estimate is not None)
        hits["S_min"].append(fit.s_min.holds(study.s_min))
        for at in fit.by_batch_size:
            hits["expected"].append(at.expected.holds(math.exp(study.log_law(at.batch_size))))
            if _is_told(at.measured):
                hits["measured"].append(at.measured.holds(math.exp(truth[at.batch_size])))
    return {name: float(np.mean(found)) if found else float("nan") for name, found in hits.items()}


_COLUMNS = ("B_crit", "a number", "S_min", "expected", "measured", "withheld")


def _is_told(known: Estimate) -> bool:
    return (known.low, known.high) != (None, None)


def _print_table(head: list[str]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=500)
    n_studies = parser.parse_args().studies
    _print_table(["study", *_COLUMNS])
    for seed, (name, study) in enumerate(STUDIES.items()):
        found = coverage(study, n_studies=n_studies, seed=seed)
        cells = " | ".join(_percent(found[column]) for column in _COLUMNS)
        print(f"| {name} | {cells} |", flush=True)
    print()
    _print_table(["target after, epochs", "evaluations an epoch", *_OF_MARKED])
    for (epochs, times), study in MARKED.items():
        found = coverage(study, n_studies=n_studies, seed=times)
        cells = " | ".join(_percent(found[name]) for name in _OF_MARKED)
        print(f"| {epochs} | {times} | {cells} |", flush=True)


_OF_MARKED = ("expected", "measured", "B_crit")


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
