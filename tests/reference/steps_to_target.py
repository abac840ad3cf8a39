"""Studies of steps to target, made up from a known truth."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchlab.laws.steps import StepsObservation


@dataclass(frozen=True)
class MadeUpStudy:
    sizes: tuple[int, ...]
    b_crit: float
    seeds: int
    sigma: float  # standard deviation of log steps between seeds
    tau: float = 0.0  # standard deviation of a batch size as a whole
    cadence: float = 0.05  # evaluations are so far apart, as a share of the steps; 0: every step
    apart: int | None = None  # instead: evaluations so many examples apart, from the first on
    stopped: float | None = None  # the two largest sizes end so many sigma beyond the law
    exponent: float = 1.0  # of the generalized law
    s_min: float = 1000.0
    largest_sigma: float | None = None  # at the largest size, from `sigma` in equal ratios
    slow: float = 1.0  # one run, drawn at random, takes so many times as long

    def draw(self, rng: np.random.Generator) -> tuple[list[StepsObservation], dict[int, float]]:
        """One study, and the log of the median steps of each batch size as tuned."""
        seen, truth = [], {}
        slow = None if self.slow == 1 else int(rng.integers(len(self.sizes) * self.seeds))
        for place, b in enumerate(self.sizes):
            sigma = self._sigma_at(place)
            law = math.exp(self.log_law(b))
            truth[b] = self.log_law(b) + self.tau * rng.normal()
            last = math.inf
            if self.stopped is not None and b in self.sizes[-2:]:
                last = law * math.exp(self.sigma * self.stopped)
            for seed in range(self.seeds):
                steps = math.exp(truth[b] + sigma * rng.normal())
                if place * self.seeds + seed == slow:
                    steps *= self.slow
                after = 0.0
                if self.cadence:
                    spacing = self.cadence * law if self.apart is None else self.apart / b
                    steps = math.ceil(steps / spacing) * spacing
                    after = (
                        steps - spacing if self.apart is None else max(steps / 20, steps - spacing)
                    )
                if steps > last:
                    seen.append(StepsObservation(batch_size=b, after_steps=last, steps=None))
                else:
                    seen.append(StepsObservation(batch_size=b, after_steps=after, steps=steps))
        return seen, truth

    def log_law(self, batch_size: int) -> float:
        """Return the log steps of the law, without a deviation of the batch size."""
        return math.log(self.s_min * (1 + (self.b_crit / batch_size) ** self.exponent))

    def _sigma_at(self, place: int) -> float:
        if self.largest_sigma is None:
            return self.sigma
        return self.sigma * (self.largest_sigma / self.sigma) ** (place / (len(self.sizes) - 1))


WIDE = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
FIVE = (16, 64, 256, 1024, 4096)
NARROW = (32, 64, 128, 256, 512)
FOUR = (16, 128, 1024, 8192)
SIX = (16, 64, 256, 1024, 4096, 16384)
# Batch size 16 takes so many epochs to the target, and is evaluated so often in each.
MARKED = {
    (epochs, times): MadeUpStudy(
        *(FIVE, 250, 2, 0.08),
        s_min=300,
        apart=round(300 * (1 + 250 / FIVE[0]) * FIVE[0] / epochs) // times,
    )
    for epochs in (0.6, 1.7, 3.0)
    for times in (1, 2, 20)
}


# One row a line of the coverage table in benchmarks/results/coverage.md.
STUDIES = {
    "9 sizes, 3 seeds, 6 %": MadeUpStudy(WIDE, 120, 3, 0.06),
    "9 sizes, 1 seed, 6 %": MadeUpStudy(WIDE, 120, 1, 0.06),
    "9 sizes, 3 seeds, 3 %, tau 4 %": MadeUpStudy(WIDE, 120, 3, 0.03, tau=0.04),
    "5 sizes, 2 seeds, 6 %": MadeUpStudy(FIVE, 250, 2, 0.06),
    "5 sizes, 1 seed, 3 %, tau 3 %": MadeUpStudy(FIVE, 250, 1, 0.03, tau=0.03),
    "5 sizes, 3 seeds, 3 %, tau 4 %": MadeUpStudy(FIVE, 250, 3, 0.03, tau=0.04),
    "5 sizes, 2 seeds, 15 %, tau 3 %": MadeUpStudy(FIVE, 250, 2, 0.15, tau=0.03),
    "B_crit 10 times above the range": MadeUpStudy(NARROW, 5000, 2, 0.06),
    "B_crit 10 times above, tau 3 %": MadeUpStudy(NARROW, 5000, 2, 0.06, tau=0.03),
    "B_crit 8 times below the range": MadeUpStudy(NARROW, 4, 2, 0.06),
    "B_crit at the range's upper end": MadeUpStudy(NARROW, 500, 2, 0.06),
    "a third of two sizes stopped early": MadeUpStudy(WIDE, 120, 3, 0.06, stopped=0.4),
    "3 sizes, 3 seeds, 6 %": MadeUpStudy((16, 256, 4096), 250, 3, 0.06),
    "6 sizes, 4 seeds, 6 %, exponent 0.6": MadeUpStudy(SIX, 250, 4, 0.06, exponent=0.6),
    "4 sizes, 3 seeds, 6 %, exponent 1.5": MadeUpStudy(FOUR, 250, 3, 0.06, exponent=1.5),
    "6 sizes, 3 seeds, 2 % to 20 %": MadeUpStudy(SIX, 250, 3, 0.02, largest_sigma=0.2),
    "4 sizes, 3 seeds, 6 %, one run slow": MadeUpStudy(FOUR, 250, 3, 0.06, slow=3.5),
}


def exact(batch_size: int, steps: float) -> StepsObservation:
    """A run that reached its target at this step."""
    return StepsObservation(batch_size=batch_size, after_steps=0, steps=steps)


def on_the_law(sizes=(1, 50, 200, 800), *, seeds=1, exponent=1.0) -> list[StepsObservation]:
    """Runs without scatter: S_min 1000, B_crit 200."""
    return [exact(b, 1000 * (1 + (200 / b) ** exponent)) for b in sizes for _ in range(seeds)]


def drawn(seed: int = 0, **changed: Any) -> list[StepsObservation]:
    """One study of 9 sizes, 3 seeds and 6 %, or as `changed` says."""
    study = replace(STUDIES["9 sizes, 3 seeds, 6 %"], **changed)
    return study.draw(np.random.default_rng(seed))[0]
