"""How often the 95 % intervals of the steps-to-target law hold the truth, on made-up studies.

    python -m benchmarks.law_coverage [--studies 500]

Prints three tables of benchmarks/results/coverage.md: of studies on the law, of B_crit at other
exponents, and of studies that are evaluated seldom.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from tests.reference.steps_to_target import (
    ANY_EXPONENT,
    EXPONENTS,
    MARKED,
    STUDIES,
    MadeUpStudy,
)

from batchlab.laws.steps import StepsToTargetFit, fit_steps_to_target


def coverage(study: MadeUpStudy, *, n_studies: int, seed: int) -> dict[str, float]:
    """Shares of studies: intervals that hold the truth, B_crit withheld, tests that reject."""
    rng = np.random.default_rng(seed)
    hits: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    for i in range(n_studies):
        seen, truth = study.draw(rng)
        fit = fit_steps_to_target(seen, seed=i)
        hits["withheld"].append(not fit.law_holds)
        hits["rejected"].append(bool(fit.lack_of_fit.rejected))
        if _is_told(fit):
            hits["B_crit"].append(fit.b_crit.holds(study.b_crit))
        hits["a number"].append(fit.b_crit.estimate is not None)
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


def b_crit_coverage(study: MadeUpStudy, *, n_studies: int, seed: int) -> tuple[float, float]:
    """Shares of studies: B_crit's interval holds the truth where it is told, and it is told."""
    rng = np.random.default_rng(seed)
    fits = [fit_steps_to_target(study.draw(rng)[0], seed=i) for i in range(n_studies)]
    told = [fit.b_crit for fit in fits if _is_told(fit)]
    held = np.mean([one.holds(study.b_crit) for one in told]) if told else np.nan
    return float(held), len(told) / n_studies


def _is_told(fit: StepsToTargetFit) -> bool:
    return (fit.b_crit.low, fit.b_crit.high) != (None, None)


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
        cells = " | ".join(f"{100 * found[column]:.1f} %" for column in _COLUMNS)
        print(f"| {name} | {cells} |", flush=True)
    print()
    _print_table(["B_crit at an exponent of", *map(str, EXPONENTS)])
    for seed, (name, study) in enumerate(ANY_EXPONENT.items()):
        shares = [
            b_crit_coverage(replace(study, exponent=exponent), n_studies=n_studies, seed=seed)
            for exponent in EXPONENTS
        ]
        cells = " | ".join(f"{100 * held:.1f} % ({100 * told:.0f} %)" for held, told in shares)
        print(f"| {name} | {cells} |", flush=True)
    print()
    _print_table(["target after, epochs", "evaluations an epoch", "steps", "ratios", "B_crit"])
    for (epochs, times), study in MARKED.items():
        found = coverage(study, n_studies=n_studies, seed=times)
        cells = " | ".join(f"{100 * found[name]:.1f} %" for name in ("steps", "ratios", "B_crit"))
        print(f"| {epochs} | {times} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
