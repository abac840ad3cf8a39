"""The critical batch size by branches along one training, against that of whole trainings.

    python benchmarks/branches.py [--workloads cnn gru transformer] [--seeds 3]

A training of the reference batch size at its best recorded rate is stopped after some parts of it,
and measured there as `batchlab noise --branches` does, with each seed. All seeds together give one
estimate. Beside it stands the law of the recorded trainings (5 to 14 seeds), each batch size at its
best rate, to the level that a training of the reference ends with.

With `--named` it shows what choosing by a seed's critical batch size is worth, against doubling
batch size and rate without any measurement: on the same recordings, what is chosen is compared with
the reference, whose rate is the best one or an octave below.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from itertools import chain, product
from pathlib import Path

# Run as a script: what lies beside it goes by the name that it has from the root.
sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parent / "regret"))

import torch
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.whole_situation import whole_situation
from benchmarks.regret_whole import path_of
from one_training import trial_of
from record_whole import WORKLOADS
from whole_level import level_of

from batchlab.errors import BatchlabError, TrialError
from batchlab.laws.branches import critical_batch_size
from batchlab.laws.steps import StepsObservation, fit_steps_to_target
from batchlab.measure.branches import Branches
from batchlab.records.estimate import Estimate
from batchlab.training.stepper import Stepper

_BLOCK = 256  # steps


def whole_law(grid: RecordedGrid) -> tuple[Estimate | None, float]:
    """Return B_crit of the recorded trainings, and the best rate of the reference batch size."""
    header = grid.header
    own = header.reference_batch_size
    rate = grid.cell(own, header.reference_learning_rate)[1]
    curves = [grid.runs[own, rate, seed].curve for seed in grid.cells[own, rate]]
    level = level_of(curves, metric=header.metric, better=header.better)
    observations, best_rate = [], header.reference_learning_rate
    for size in grid.batch_sizes:
        best, found = math.inf, []
        for rate in grid.learning_rates(size):
            runs = [grid.runs[size, rate, seed] for seed in grid.cells[size, rate]]
            steps = [grid.steps_to(run, level.target) for run in runs]
            met = [each for each in steps if each is not None]
            if len(met) < 0.8 * len(steps):
                continue
            if statistics.fmean(met) < best:
                best, found = statistics.fmean(met), met
                best_rate = rate if size == own else best_rate
        observations += [StepsObservation(batch_size=size, after_steps=s, steps=s) for s in found]
    try:
        return fit_steps_to_target(observations).b_crit, best_rate
    except BatchlabError:
        return None, best_rate


Wasted = list[tuple[float, float, float]]
"""What `Branches.wasted` returns."""


def measured(
    name: str, rate: float, parts: Sequence[float], n_seeds: int
) -> dict[float, list[Wasted]]:
    """Train the reference batch size at a rate, and branch after each of the parts, by seed."""
    workload = WORKLOADS[name]()
    octave = round(math.log2(rate / workload.learning_rate))
    found: dict[float, list[Wasted]] = {part: [] for part in parts}
    for seed in range(n_seeds):
        trial = trial_of(workload, batch_size=workload.batch_size, octave=octave, seed=seed)
        whole = trial.plan.steps_in(workload.epochs)
        stepper = Stepper(workload, trial, torch.device("cpu"))
        stream, taken = stepper.stream(0), 0
        for part in sorted(parts):
            while taken < round(part * whole):
                steps = min(_BLOCK, round(part * whole) - taken)
                stepper.steps(stream, steps, first_step=taken)
                taken += steps
            found[part].append(Branches.of(workload, stepper, trial, taken).wasted())
    return found


def told(found: Estimate | None) -> str:
    """Write an estimate with its interval, or the bound that is known of it."""
    if found is None or (found.estimate, found.low, found.high) == (None, None, None):
        return "?"
    if found.estimate is None:
        return f"> {found.low:.0f}" if found.low is not None else f"< {found.high:.0f}"
    low, high = ("?" if end is None else f"{end:.0f}" for end in (found.low, found.high))
    return f"{found.estimate:.0f} ({low} to {high})"


def beside_whole_trainings(names: Sequence[str], parts: Sequence[float], n_seeds: int) -> None:
    """Print the critical batch sizes by branches and by whole trainings."""
    heads = [f"branches at {part:.0%}" for part in parts]
    print(f"| workload, its batch size | {' | '.join(heads)} | whole trainings |")
    print("|---" * (len(heads) + 2) + "|")
    for name in names:
        law, rate = whole_law(RecordedGrid.read(path_of(name)))
        own = WORKLOADS[name]().batch_size
        found = measured(name, rate, parts, n_seeds)
        cells = [told(critical_batch_size(own, [*chain(*found[part])])) for part in parts]
        print(f"| {name}, {own} | {' | '.join(cells)} | {told(law)} |", flush=True)


# How many times the reference's batch size and rate are taken, by B_crit over that batch size.
RULES: dict[str, Callable[[float], tuple[int, float]]] = {
    "twice batch size and rate, unmeasured": lambda critical: (2, 2.0),
    "4 times both, unmeasured": lambda critical: (4, 4.0),
    "up to B_crit, rate by the root": lambda critical: (_power(critical), _power(critical) ** 0.5),
    "up to B_crit, rate in proportion": lambda critical: (_power(critical), _power(critical)),
    "up to B_crit / 2, rate in proportion": lambda c: (_power(c / 2), _power(c / 2)),
}


def _power(times: float) -> int:
    return 1 << max(0, min(4, math.floor(math.log2(max(times, 1.0)))))


def what_choosing_is_worth(names: Sequence[str], n_seeds: int) -> None:
    """Print how often a choice ends worse, and how much faster it is, by rule and rate."""
    answers: dict[tuple[str, int], list[tuple[bool, float]]] = {}
    for name, octave in product(names, (0, -1)):
        grid = RecordedGrid.read(path_of(name))
        for seed in range(n_seeds):
            try:
                asked = whole_situation(grid, "flat to 256", draw=seed).with_rate(octave)
            except TrialError:
                continue
            (own, rate) = asked.reference
            found = critical_batch_size(own, measured(name, rate, [0.1], seed + 1)[0.1][seed])
            critical = found.estimate or found.low or own
            for rule, choose in RULES.items():
                times, factor = choose(critical / own)
                times = max(t for t in (1, 2, 4, 8, 16) if t <= times and t * own in asked.step_s)
                rates = grid.learning_rates(times * own)
                nearest = min(rates, key=lambda each: abs(math.log(each / (rate * factor))))
                cell = times * own, nearest if times > 1 else rate
                ends_worse = asked.shortfall_of_own(cell, asked.judging) > 1
                gain = asked.time_s(asked.reference, asked.judging) / asked.time_s(
                    cell, asked.judging
                )
                answers.setdefault((rule, octave), []).append(
                    (ends_worse, 0.0 if ends_worse else gain)
                )
    print("| chosen | the reference's rate | answers | ends worse | times as fast, median |")
    print("|---|---|---|---|---|")
    for (rule, octave), some in sorted(answers.items(), key=lambda each: -each[0][1]):
        worse = statistics.fmean(each[0] for each in some)
        gain = statistics.median(each[1] for each in some)
        rate_text = "best" if octave == 0 else "an octave below"
        print(f"| {rule} | {rate_text} | {len(some)} | {worse:.0%} | {gain:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", default=["cnn", "gru", "transformer"])
    parser.add_argument("--parts", nargs="+", type=float, default=[0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--named", action="store_true", help="what choosing by it is worth")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.named:
        what_choosing_is_worth(given.workloads, given.seeds)
    else:
        beside_whole_trainings(given.workloads, given.parts, given.seeds)


if __name__ == "__main__":
    main()
