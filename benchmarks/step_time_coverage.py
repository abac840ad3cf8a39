"""How often the 95 % intervals of step times and of their law hold the truth, on made-up times.

    python -m benchmarks.step_time_coverage [--studies 500]

Prints the tables of step times in benchmarks/results/coverage.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tests.reference.step_time import ONE_UNSTEADY, PROCESSES, STUDIES, MadeUpTimes

from batchlab.laws.step_time import fit_step_time
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Estimate

# How a point of a profile with two processes can be read.
WAYS: dict[str, Callable[[Profile, ProfilePoint], Estimate]] = {
    "one process": lambda profile, point: replace(point, again=()).step_s,
    "two": lambda profile, point: point.step_s,
    "with their scatter": lambda profile, point: profile.timed_s(point),
    "and the law": lambda profile, point: profile.step_s(point.batch_size),
}
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


def process_coverage(machine: MadeUpTimes, *, n_profiles: int, seed: int) -> dict[str, list[float]]:
    """By way of looking at it: share of the batch sizes whose true time is held, and the error.

    The ways: the blocks of one process, those of two, with the scatter between processes, and with
    the law through all batch sizes. The error is the root mean square of the logarithm's.
    """
    random = np.random.default_rng(seed)
    held: dict[str, list[bool]] = {}
    squares: dict[str, list[float]] = {}
    for _ in range(n_profiles):
        profile, truth_s = machine.profile(random)
        for point in profile.points:
            true_s = truth_s[point.batch_size]
            for way, look in WAYS.items():
                seen = look(profile, point)
                assert seen.estimate is not None
                held.setdefault(way, []).append(seen.holds(true_s))
                squares.setdefault(way, []).append(float(np.log(seen.estimate / true_s)) ** 2)
    return {way: [float(np.mean(held[way])), float(np.sqrt(np.mean(squares[way])))] for way in held}


def unsteady_coverage(machine: MadeUpTimes, *, n_profiles: int) -> tuple[float, float]:
    """Shares held as timed: of the size that scatters ten times as much, and of the others."""
    random = np.random.default_rng(0)
    held: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(n_profiles):
        profile, truth_s = machine.profile(random)
        for point in profile.points:
            seen = profile.timed_s(point).holds(truth_s[point.batch_size])
            held[point.batch_size == machine.unsteady_size].append(seen)
    return float(np.mean(held[True])), float(np.mean(held[False]))


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
    for seed, (name, machine) in enumerate(PROCESSES.items()):
        ways = process_coverage(machine, n_profiles=n_studies, seed=seed)
        if seed == 0:
            print("\nHeld, and error:\n\n| machine | " + " | ".join(ways) + " |")
            print("|---|" + "---|" * len(ways))
        cells = " | ".join(f"{100 * h:.1f} %, {100 * e:.1f} %" for h, e in ways.values())
        print(f"| {name} | {cells} |", flush=True)
    odd, others = unsteady_coverage(ONE_UNSTEADY, n_profiles=n_studies)
    print(
        f"\nOne of {len(ONE_UNSTEADY.sizes)} sizes scatters ten times as much: held with their "
        f"scatter {100 * odd:.1f} %, the others {100 * others:.1f} %"
    )


if __name__ == "__main__":
    main()
