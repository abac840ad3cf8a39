"""The step-time law's oracles: a general search for its curve, and times made up from one."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from scipy.optimize import curve_fit
from tests.reference.made_up_profile import made_up_point, made_up_profile

from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate


def law(batch_size: float, *, overhead_s: float, s_per_example: float, sharpness: float) -> float:
    linear_s = s_per_example * batch_size
    return float((overhead_s**sharpness + linear_s**sharpness) ** (1 / sharpness))


def fit_by_search(
    points: Sequence[tuple[int, float]], weights: Sequence[float]
) -> tuple[float, float, float]:
    """Overhead, seconds per example and sharpness of weighted least squares on log times."""

    def log_s(sizes: Sequence[int], log_overhead: float, log_each: float, round_: float) -> object:
        logs = np.stack(np.broadcast_arrays(log_overhead, log_each + np.log(sizes)))
        return round_ * np.logaddexp(*(logs / round_))

    sizes, seconds = zip(*points, strict=True)
    least, each = math.log(min(seconds)), math.log(seconds[-1] / sizes[-1])
    errors, found = np.array(weights) ** -0.5, []
    for round_ in (0.3, 0.7, 1.2):
        start, bounds = (least, each, round_), ((-40, -40, 0.1), (10, 10, 1.6))
        best, _ = curve_fit(
            log_s, sizes, np.log(seconds), start, errors, bounds=bounds, xtol=1e-14, ftol=1e-14
        )
        off = (np.log(seconds) - log_s(sizes, *best)) / errors
        found.append((float(off @ off), best))
    best = min(found, key=lambda one: one[0])[1]
    return math.exp(best[0]), math.exp(best[1]), 1 / best[2]


@dataclass(frozen=True, kw_only=True)
class MadeUpTimes:
    """A machine whose step times follow the law, but for the scatter of sizes and of blocks."""

    sizes: tuple[int, ...] = tuple(2**power for power in range(14))
    overhead_s: float = 1e-4
    s_per_example: float = 1e-6
    sharpness: float = 1.0
    off_the_law: float = 0.05
    block_sd: float = 0.03
    process_sd: float = 0.0
    unsteady_size: int | None = None  # its processes lie ten times as far apart

    @property
    def knee_batch_size(self) -> float:
        return self.overhead_s / self.s_per_example

    def step_s(self, batch_size: int) -> float:
        return law(
            batch_size,
            overhead_s=self.overhead_s,
            s_per_example=self.s_per_example,
            sharpness=self.sharpness,
        )

    def draw(self, random: np.random.Generator) -> list[tuple[int, Estimate]]:
        """Times as a profile has them: the median of eight blocks between least and largest."""
        made = []
        for batch_size in self.sizes:
            own_s = self.step_s(batch_size) * math.exp(random.normal(0, self.off_the_law))
            blocks = sorted(own_s * math.exp(random.normal(0, self.block_sd)) for _ in range(8))
            median_s = statistics.median(blocks)
            made.append((batch_size, Estimate.of(median_s, interval=(blocks[0], blocks[-1]), n=8)))
        return made

    def profile(self, random: np.random.Generator) -> tuple[Profile, dict[int, float]]:
        """A profile with each batch size timed in two processes, and what its steps truly take."""
        truth_s, points = {}, []
        for batch_size in self.sizes:
            true_s = self.step_s(batch_size) * math.exp(random.normal(0, self.off_the_law))
            truth_s[batch_size] = true_s
            process_sd = self.process_sd * (10 if batch_size == self.unsteady_size else 1)
            first, second = (
                made_up_point(
                    batch_size,
                    median_s=true_s * math.exp(random.normal(0, process_sd)),
                    scatter=np.exp(random.normal(0, self.block_sd, 15)).tolist(),
                )
                for _ in range(2)
            )
            points.append(replace(first, again=(second.timing,)))
        made = made_up_profile(*points)
        workload = msgspec.structs.replace(made.workload, n_train=2 * max(self.sizes))
        return replace(made, workload=workload), truth_s


_TO_512 = tuple(2**power for power in range(10))
_FROM_16 = tuple(2**power for power in range(4, 14))
_GPU = MadeUpTimes(overhead_s=1e-3, sharpness=4.0, off_the_law=0.03, block_sd=0.01)
STUDIES = {
    "a CPU, 14 sizes": MadeUpTimes(),
    "a GPU, 14 sizes": _GPU,
    "a quiet machine": MadeUpTimes(off_the_law=0.005, block_sd=0.003),
    "a busy machine": MadeUpTimes(off_the_law=0.1, block_sd=0.2),
    "rounder than a line": MadeUpTimes(sharpness=0.75),
    "5 sizes": MadeUpTimes(sizes=(16, 64, 256, 1024, 4096)),
    "3 sizes": MadeUpTimes(sizes=(16, 128, 1024)),
    "knee 20 times above the range": replace(_GPU, sizes=_TO_512, s_per_example=1e-7),
    "knee at the range's upper end": replace(_GPU, sizes=_TO_512, s_per_example=2e-6),
    "knee 16 times below the range": MadeUpTimes(sizes=_FROM_16, overhead_s=1e-6),
}
# Step times that the host's launches make, as on a large GPU with a small model (seen on an H200:
# 13.5 % from process to process, 3.5 % by the blocks), and as on a CPU (1 %).
PROCESSES = {
    "launches of a GPU, 11 sizes": replace(
        _GPU,
        sizes=tuple(2**power for power in range(3, 14)),
        s_per_example=1e-8,
        block_sd=0.08,
        process_sd=0.14,
    ),
    "the same, 5 sizes": replace(
        _GPU, sizes=(16, 64, 256, 1024, 4096), s_per_example=1e-8, block_sd=0.08, process_sd=0.14
    ),
    "a CPU, 14 sizes": MadeUpTimes(block_sd=0.02, process_sd=0.012),
    "a CPU whose sizes lie far off": MadeUpTimes(off_the_law=0.2, block_sd=0.02, process_sd=0.012),
    "processes alike": MadeUpTimes(block_sd=0.02),
    "3 sizes on a CPU": MadeUpTimes(sizes=(16, 64, 256), block_sd=0.02, process_sd=0.012),
}
ONE_UNSTEADY = MadeUpTimes(block_sd=0.02, process_sd=0.012, unsteady_size=256)
