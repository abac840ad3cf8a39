"""How often the 95 % intervals of the steps-to-target law hold the truth, on made-up studies.

    python -m benchmarks.law_coverage [--studies 500]

Prints the table of docs/laws.md.
"""

from __future__ import annotations

import argparse

import numpy as np
from tests.reference.steps_to_target import STUDIES, MadeUpStudy

from batchlab.laws.steps_to_target import fit_steps_to_target


def coverage(study: MadeUpStudy, *, n_studies: int, seed: int) -> dict[str, float]:
    """Shares of studies: intervals that hold the truth, B_crit withheld, tests that reject."""
    rng = np.random.default_rng(seed)
    hits: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    for i in range(n_studies):
        seen, truth = study.draw(rng)
        fit = fit_steps_to_target(seen, seed=i)
        hits["withheld"].append(not fit.law_holds)
        hits["rejected"].append(bool(fit.lack_of_fit.rejected))
        if fit.law_holds and (fit.b_crit.low, fit.b_crit.high) != (None, None):
            hits["B_crit"].append(fit.b_crit.holds(study.b_crit))
            hits["a number"].append(fit.b_crit.estimate is not None)
        if fit.law_holds:
            hits["S_min"].append(fit.s_min.holds(study.s_min))
        log_steps = np.array(list(truth.values()))
        draws = fit.log_steps_draws(study.sizes)
        low, high = np.quantile(draws, (0.025, 0.975), axis=0)
        hits["steps"].append(float(np.mean((low <= log_steps) & (log_steps <= high))))
        differences = draws[:, :-1] - draws[:, 1:]
        low, high = np.quantile(differences, (0.025, 0.975), axis=0)
        between = log_steps[:-1] - log_steps[1:]
        hits["ratios"].append(float(np.mean((low <= between) & (between <= high))))
    return {name: float(np.mean(found)) if found else float("nan") for name, found in hits.items()}


_COLUMNS = ("B_crit", "a number", "S_min", "steps", "ratios", "rejected", "withheld")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=500)
    n_studies = parser.parse_args().studies
    print("| study | " + " | ".join(_COLUMNS) + " |")
    print("|---|" + "---|" * len(_COLUMNS))
    for seed, (name, study) in enumerate(STUDIES.items()):
        found = coverage(study, n_studies=n_studies, seed=seed)
        cells = " | ".join(f"{100 * found[column]:.1f} %" for column in _COLUMNS)
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
