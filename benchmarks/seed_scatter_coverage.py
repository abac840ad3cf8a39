"""What the recorded trainings say about the scatter of seeds, and whether intervals hold.

    python -m benchmarks.seed_scatter_coverage [--draws 200]

Prints the tables of benchmarks/results/coverage.md: the priors fitted by maximum likelihood to the
nineteen recorded workloads (those of `batchlab.belief.seed_scatter`), how often 95 % intervals of a
difference in final value hold what the seeds that were left out say, and how often a verdict on
"larger batches generalize worse" is given and right. Each workload is judged with a prior fitted
without it and its twin.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from benchmarks.recorded.grid import CellKey, RecordedGrid, RecordedRun
from benchmarks.regret.harness import GRIDS, LATER_GRIDS
from benchmarks.regret.whole_situation import end_of, level_of
from numpy.typing import NDArray
from scipy.optimize import minimize

from batchlab.belief import seed_scatter
from batchlab.belief.cell_means import CellMeans
from batchlab.belief.final_value import end_error
from batchlab.belief.margin import margin_of
from batchlab.belief.metric_scale import MetricScale
from batchlab.belief.seed_scatter import ScatterPrior
from batchlab.belief.statements import falls
from batchlab.records.quantities import Better
from batchlab.records.trial import Status, Target

Array = NDArray[np.float64]
Cells = Mapping[CellKey, Sequence[float]]

_FEWEST_SEEDS = 4  # of a cell that says something about scatter
_N_EXAMPLES = {"whole": 10_000, "later": 2_000}  # for validation, by folder
# Judged alone, by the prior that was fitted without them; and their validation examples.
_JUDGES = {
    "early-stopping": 4_000,
    "contrastive": 4_000,
    "transformer-cosine": 500,
    "resnet": 2_000,
}
_LOG_VARIANCES = np.arange(-24.0, 6.0, 0.1)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What was recorded of one workload.

    Attributes:
        name: its name.
        better: the direction of its metric.
        metric: the metric's name.
        n_examples: for validation.
        margin: the difference in a final value that still counts as no worse.
        finals: what every run that ended well ends with, by cell.
        errors: how well lines tell these ends, in the same order.
        tuned: the cells of each batch size at its best rate, by batch size.
        log_steps: the logarithm of steps to the reference's level, by cell.
    """

    name: str
    better: Better
    metric: str
    n_examples: int
    margin: float
    finals: Cells
    errors: Mapping[CellKey, Sequence[float | None]]
    tuned: Mapping[int, CellKey]
    log_steps: Cells

    @property
    def scale(self) -> MetricScale:
        """The scale of its metric."""
        values = [value for cell in self.finals.values() for value in cell]
        return MetricScale.of(self.metric, values, better=self.better, n_examples=self.n_examples)

    def runs(self, key: CellKey) -> Array:
        """What the runs of a cell end with, and the error of that or NaN; shape (n, 2)."""
        return np.array(list(zip(self.finals[key], self.errors[key], strict=True)), dtype=float)

    @property
    def log_error(self) -> float:
        """The logarithm of the median error of the ends at tuned rates, on that scale."""
        found = [(key, error) for key in self.tuned.values() for error in self.errors[key] if error]
        level = statistics.fmean(statistics.fmean(self.finals[key]) for key, _ in found)
        error = statistics.median(error for _, error in found) * self.scale.slope(level)
        return math.log(error) - 0.5 * math.log(_fewer(self.scale))

    @property
    def family(self) -> str:
        """Its name without what its twin differs in."""
        return self.name.removesuffix("-cosine")


def recorded() -> list[Workload]:
    """Read all recorded workloads."""
    return list(map(_workload, GRIDS + LATER_GRIDS))


def _workload(path: Path) -> Workload:
    grid = RecordedGrid.read(path)
    header = grid.header
    own = (header.reference_batch_size, header.reference_learning_rate)
    of_own = [run for run in grid.runs.values() if (run.batch_size, run.learning_rate) == own]
    level = level_of([run.curve for run in of_own], header)
    finals, errors, log_steps = defaultdict(list), defaultdict(list), defaultdict(list)
    for run in grid.runs.values():
        key = run.batch_size, run.learning_rate
        end = end_of(run.curve, header)
        if run.status in (Status.OK, Status.TARGET_REACHED) and end is not None:
            finals[key].append(end)
            errors[key].append(end_error([(s, v) for s, v in run.curve if s and v is not None]))
        if (steps := _steps_to(run, level.target)) is not None:
            log_steps[key].append(math.log(steps))
    kept = {key: values for key, values in finals.items() if len(values) >= _FEWEST_SEEDS}
    n_examples = _JUDGES.get(header.workload, _N_EXAMPLES[path.parent.name])
    margin = margin_of(
        level.end,
        metric=header.metric,
        better=header.better,
        untrained=of_own[0].curve[0][1],
        n_examples=n_examples,
    )
    return Workload(
        name=header.workload,
        better=header.better,
        metric=header.metric,
        n_examples=n_examples,
        margin=margin,
        finals=kept,
        errors=errors,
        tuned=_tuned(kept, header.better),
        log_steps=log_steps,
    )


def _steps_to(run: RecordedRun, target: Target) -> float | None:
    """Return the steps in the middle of the two evaluations that a run met a target between."""
    before = 0
    for step, value in run.curve:
        if value is not None and target.met_by(value):
            return (before + step) / 2 if step else None
        before = step
    return None


def _tuned(finals: Cells, better: Better) -> dict[int, CellKey]:
    sign = 1 if better == "higher" else -1
    best: dict[int, CellKey] = {}
    for key, values in finals.items():
        before = best.get(key[0])
        if before is None or sign * np.mean(values) > sign * np.mean(finals[before]):
            best[key[0]] = key
    return best


# ---- the prior


def _near_tuned(workload: Workload, cells: Cells) -> Iterator[Sequence[float]]:
    """The cells of each batch size at its best rate and an octave beside it."""
    for (batch_size, rate), values in cells.items():
        best = workload.tuned.get(batch_size)
        if best and abs(math.log2(rate / best[1])) < 1.01 and len(values) >= _FEWEST_SEEDS:
            yield values


def _log_likelihood(workload: Workload, cells: Cells, scale: MetricScale) -> Array:
    """Log likelihood by unlikeness and log usual variance, both on the grids of the product."""
    total = np.zeros((len(seed_scatter._UNLIKENESS), len(_LOG_VARIANCES)))
    degrees = seed_scatter._prior_degrees()[:, None]
    for values in _near_tuned(workload, cells):
        log_ratio = math.log(scale.variance(values) / _fewer(scale)) - _LOG_VARIANCES[None, :]
        total += seed_scatter._log_f(log_ratio, len(values) - 1, degrees)
    return total


def _fewer(scale: MetricScale) -> float:
    """With fewer examples than the others the scatter is larger; the prior is of theirs."""
    return max(1.0, 10_000 / scale.n_examples) if scale.n_examples else 1.0


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The prior as fitted: of each kind of metric, and of how unlike cells are."""

    priors: Mapping[str, ScatterPrior]
    log_unlikeness: tuple[float, float]
    by_error: float  # how much the log of the scatter rises by that of the error of an end
    usual_errors: Mapping[str, float]  # the geometric mean of that error, by kind of metric


def fit(workloads: Sequence[Workload], *, by_error: bool = False) -> Fitted:
    """Fit the prior by maximum likelihood; twins count half each.

    Args:
        workloads: what it is fitted to.
        by_error: whether it is the prior for where the errors of ends are known.
    """
    likelihoods: dict[str, list[tuple[float, Array, float]]] = defaultdict(list)
    logs: dict[str, list[float]] = defaultdict(list)
    for workload in workloads:
        logs[workload.scale.kind].append(workload.log_error)
    usual = {kind: statistics.fmean(values) for kind, values in logs.items()}
    for workload in workloads:
        twins = sum(other.family == workload.family for other in workloads)
        scale = workload.scale
        of_finals = _log_likelihood(workload, workload.finals, scale)
        above = max(0.0, workload.log_error - usual[scale.kind]) if by_error else 0.0
        likelihoods[scale.kind].append((1 / twins, of_finals, above))
        of_steps = _log_likelihood(workload, workload.log_steps, MetricScale(kind="plain"))
        likelihoods["steps"].append((1 / twins, of_steps, 0.0))
    kinds = sorted(likelihoods)

    def misfit(parameters: Array) -> float:
        unlike = _log_normal(np.log(seed_scatter._UNLIKENESS), *parameters[-3:-1])
        unlike -= np.log(seed_scatter._UNLIKENESS)
        unlike -= np.logaddexp.reduce(unlike)
        total = 0.0
        for i, kind in enumerate(kinds):
            mean, log_sd = parameters[2 * i : 2 * i + 2]
            for weight, each, above in likelihoods[kind]:
                one = _log_normal(_LOG_VARIANCES / 2, mean + parameters[-1] * above, log_sd)
                one -= np.logaddexp.reduce(one)
                total -= weight * float(np.logaddexp.reduce((each + unlike[:, None] + one).ravel()))
        return total

    start = [*[-3.5, -0.3] * len(kinds), -0.9, -0.3, 0.4]
    options = {"maxiter": 20_000, "maxfev": 20_000, "xatol": 1e-3, "fatol": 1e-3}
    best = minimize(misfit, start, method="Nelder-Mead", options=options).x
    priors = {
        kind: ScatterPrior(
            log_sd=float(best[2 * i]),
            # A further workload is less like these than they are like each other.
            log_sd_sd=math.exp(best[2 * i + 1]) * (1 + 1 / len(likelihoods[kind])),
            degrees=round(sum(weight for weight, *_ in likelihoods[kind])) - 1,
        )
        for i, kind in enumerate(kinds)
    }
    return Fitted(
        priors=priors,
        log_unlikeness=(float(best[-3]), math.exp(best[-2])),
        by_error=float(best[-1]),
        usual_errors={kind: math.exp(mean) for kind, mean in usual.items()},
    )


def _log_normal(x: Array, mean: float, log_sd: float) -> Array:
    return np.asarray(-0.5 * ((x - mean) / math.exp(log_sd)) ** 2)


# ---- whether intervals hold


def coverage(
    workload: Workload, n_seeds: int, n_draws: int, stream: np.random.Generator
) -> tuple[float, float]:
    """Draw four tuned cells and some of their seeds, and hold a difference against the others.

    Returns the share of intervals that held, and half of an interval's width in margins.
    """
    pool = [
        workload.runs(key)
        for key in workload.tuned.values()
        if len(workload.finals[key]) >= n_seeds + 2
    ]
    held, widths = [], []
    for _ in range(n_draws):
        chosen = [stream.permutation(pool[i]) for i in stream.permutation(len(pool))[:4]]
        known = _means(workload, [cell[:n_seeds] for cell in chosen]).difference(0, 1)
        rest = [cell[n_seeds:, 0] for cell in chosen[:2]]
        assert known.low is not None
        assert known.high is not None
        # What the seeds that were left out say scatters too.
        error = math.sqrt(sum(cell.var(ddof=1) / len(cell) for cell in rest))
        middle, half = (known.low + known.high) / 2, (known.high - known.low) / 2
        apart = float(rest[0].mean() - rest[1].mean())
        held.append(abs(apart - middle) <= math.hypot(half, 1.96 * error))
        widths.append(half / workload.margin)
    return statistics.fmean(held), statistics.median(widths)


def _means(workload: Workload, cells: Sequence[Array]) -> CellMeans:
    errors = np.concatenate(cells)[:, 1]
    return CellMeans.of(
        [cell[:, 0].tolist() for cell in cells],
        metric=workload.metric,
        better=workload.better,
        n_examples=workload.n_examples,
        end_errors=errors[np.isfinite(errors)].tolist(),
    )


# ---- whether verdicts are given, and right


def verdicts(workload: Workload, n_draws: int, stream: np.random.Generator) -> tuple[int, int, int]:
    """Draw sweeps of four batch sizes with two seeds, and judge whether larger ends worse.

    Returns how many have a truth of more than two margins, are decided, and are decided wrongly.
    """
    n = decided = wrong = 0
    sizes = sorted(workload.tuned)
    sign = 1 if workload.better == "higher" else -1
    for _ in range(n_draws):
        chosen = sorted(stream.permutation(sizes)[:4])
        cells = [workload.runs(workload.tuned[size]) for size in chosen]
        truth = sign * float(cells[0][:, 0].mean() - cells[-1][:, 0].mean()) / workload.margin
        if abs(truth) <= 2:
            continue
        means = _means(workload, [stream.permutation(cell)[:2] for cell in cells])
        assert means.draws is not None
        verdict = falls(sign * means.draws, workload.margin)
        n += 1
        decided += verdict != "cannot_tell"
        wrong += verdict == ("did_not_hold" if truth > 0 else "held")
    return n, decided, wrong


# ---- tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    n_draws = parser.parse_args().draws
    workloads, stream = recorded(), np.random.default_rng(0)
    known = [workload for workload in workloads if workload.name not in _JUDGES]
    _print_prior(fit(known))
    given = fit(known, by_error=True)
    _print_prior(given)
    for kind, usual in given.usual_errors.items():
        print(f"| usual error of an end, {kind} | {usual:.3g} | | |")
    print(f"| power of the error | {given.by_error:.2f} | | |")
    rows = []
    for workload in workloads:
        others = [other for other in known if other.family != workload.family]
        fitted, given = fit(others), fit(others, by_error=True)
        of_error = {kind: (given.priors[kind], at) for kind, at in given.usual_errors.items()}
        with (
            patch.object(seed_scatter, "PRIORS", fitted.priors),
            patch.object(seed_scatter, "PRIORS_OF_ERROR", of_error),
            patch.object(seed_scatter, "_BY_ERROR", given.by_error),
            patch.object(seed_scatter, "_LOG_UNLIKENESS", fitted.log_unlikeness),
        ):
            held = [coverage(workload, n, n_draws, stream) for n in (1, 2, 3)]
            rows.append((workload.name, held, verdicts(workload, n_draws, stream)))
    _print_coverage([(name, held) for name, held, _ in rows])
    _print_verdicts([(name, counted) for name, _, counted in rows])


def _print_prior(fitted: Fitted) -> None:
    print("| scale | mean of log sd | its scale | degrees of freedom |\n|---|---|---|---|")
    for kind, prior in fitted.priors.items():
        print(f"| {kind} | {prior.log_sd:.2f} | {prior.log_sd_sd:.2f} | {prior.degrees} |")
    print("| log of unlikeness | {:.2f} | {:.2f} | |".format(*fitted.log_unlikeness))


def _print_coverage(rows: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> None:
    print("\nCoverage, and half width in margins (median), with 1, 2 and 3 seeds per cell")
    print("| workload | 1 | 2 | 3 |\n|---|---|---|---|")
    for name, found in rows:
        cells = [f"{100 * held:.0f} %, {width:.1f}" for held, width in found]
        print(f"| {name} | {' | '.join(cells)} |")
    by_seeds = list(zip(*(found for _, found in rows), strict=True))
    for label, choose in (("mean", statistics.fmean), ("lowest", min)):
        cells = [f"{100 * choose(held for held, _ in found):.1f} %" for found in by_seeds]
        print(f"| {label} | {' | '.join(cells)} |")
    cells = [f"{statistics.median(width for _, width in found):.2f}" for found in by_seeds]
    print(f"| median half width | {' | '.join(cells)} |")


def _print_verdicts(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> None:
    print("\n| workload | sweeps | decided | wrong |\n|---|---|---|---|")
    for name, counted in rows:
        print(f"| {name} | {' | '.join(map(str, counted))} |")
    n, decided, wrong = map(sum, zip(*(counted for _, counted in rows), strict=True))
    print(f"| all | {n} | {100 * decided / n:.1f} % | {100 * wrong / n:.1f} % |")


if __name__ == "__main__":
    main()
