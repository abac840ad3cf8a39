"""How often the 95 % intervals of the step-time law hold the truth, on made-up step times.

    python -m benchmarks.step_time_coverage [--studies 500]

Prints the table of docs/laws.md.
"""

from __future__ import annotations

import argparse

import numpy as np
from tests.reference.step_time import STUDIES, MadeUpTimes

from batchlab.laws.step_time import fit_step_time

_COLUMNS = ("overhead", "per example", "knee", "a number", "step")


def coverage(study: MadeUpTimes, *, n_studies: int, seed: int) -> dict[str, float]:
    """Shares of studies: intervals that hold the truth, and a knee that is more than a bound."""
    random = np.random.default_rng(seed)
    hits: dict[str, list[float]] = {name: [] for name in _COLUMNS}
    for _ in range(n_studies):
        fit = fit_step_time(study.draw(random))
        hits["overhead"].append(fit.overhead_s.holds(study.overhead_s))
        hits["per example"].append(fit.s_per_example.holds(study.s_per_example))
        hits["knee"].append(fit.knee_batch_size.holds(study.knee_batch_size))
        hits["a number"].append(fit.knee_batch_size.estimate is not None)
        told = [fit.step_s(size).holds(study.step_s(size)) for size in study.sizes]
        hits["step"].append(float(np.mean(told)))
    return {name: float(np.mean(found)) for name, found in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=500)
    n_studies = parser.parse_args().studies
    print("| machine | " + " | ".join(_COLUMNS) + " |")
    print("|---|" + "---|" * len(_COLUMNS))
    for seed, (name, study) in enumerate(STUDIES.items()):
        found = coverage(study, n_studies=n_studies, seed=seed)
        cells = " | ".join(f"{100 * found[column]:.1f} %" for column in _COLUMNS)
        print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
