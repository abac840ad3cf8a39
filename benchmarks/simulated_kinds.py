"""The kinds of simulated studies: how a workload and a device are drawn, one row each.

Workloads differ in S_min, B_crit (from far below to far above the candidates), the scatter of the
seeds, the shape of the learning-rate basin, and how the best rate follows the batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from tests.reference.simulated_engine import Truth

BATCH_SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
Device = dict[int, float]  # seconds a step by batch size
USUAL, WIDE = (0.03, 0.12), (0.15, 0.30)  # scatter of log steps from seed to seed


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of study.

    Attributes:
        truth: from a seed to a workload. One with an end is asked about without a target.
        device: from the workload and a seed to seconds a step.
        planned_epochs: what the user trains for now; None: until the curve is flat.
    """

    truth: Callable[[int], Truth]
    device: Callable[[Truth, int], Device]
    planned_epochs: float | None = None


def drawn(seed: int, *, scatter: tuple[float, float] = USUAL, **changes: Any) -> Truth:
    """A workload drawn over everything that is plausible, its seeds' scatter between two bounds."""
    rng = np.random.default_rng(seed)
    b_crit = float(np.exp(rng.uniform(np.log(2), np.log(40_000))))
    e_min = float(np.exp(rng.uniform(np.log(30_000), np.log(300_000))))
    truth = Truth(
        s_min=e_min / b_crit,
        b_crit=b_crit,
        best_rate=0.01 * 2 ** rng.uniform(-1, 4),
        rate_exponent=rng.uniform(0.3, 1.0),
        noise=rng.uniform(*scatter),
        left=rng.uniform(0.04, 0.12),
        right=rng.uniform(0.08, 0.3),
        cliff_octaves=rng.uniform(1.2, 3.0),
    )
    return replace(truth, **changes)


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


def with_a_slow_seed(seed: int) -> Truth:
    """At one batch size near the reference one of the first seeds takes 3.5 times as long."""
    rng = np.random.default_rng([seed, 3])
    size = int(rng.choice([64, 128, 256, 512, 1024]))
    slow = int(rng.integers(0, 3))
    return drawn(seed, slow=lambda b, s: 3.5 if (b, s) == (size, slow) else 1.0)


def with_an_end(seed: int) -> Truth:
    """A curve with a plateau, which is lower beyond some batch size and at too high a rate.

    Errors at the end: 3 % at the best, up to a fifth more from some batch size on, and 2 % more for
    each squared octave above the best rate. Seeds end 1 to 4 % of the errors apart.
    """
    rng = np.random.default_rng([seed, 4])
    from_size = float(rng.choice([64, 256, 1024, math.inf]))
    more = rng.uniform(0.0, 0.2)
    truth = drawn(seed)
    errors = (1 - truth.target) / 1.05

    def end(batch_size: int, learning_rate: float) -> float:
        octaves = max(0.0, math.log2(learning_rate / truth.best_rate_at(batch_size)))
        beyond = more if batch_size > from_size else 0.0
        return 1 - errors * (1 + beyond + 0.02 * octaves**2)

    return replace(truth, end=end, end_noise=float(errors * rng.uniform(0.01, 0.04)))


def ends_alike(seed: int) -> Truth:
    """S = 500 (1 + 200 / B), and every training ends at the same value."""
    truth = Truth()
    end = 1 - (1 - truth.target) / 1.05
    return replace(truth, end=lambda *_: end)


def same_step_time(truth: Truth, seed: int) -> Device:
    """A device with room for every batch size: a step takes a millisecond."""
    return dict.fromkeys(BATCH_SIZES, 1e-3)


KINDS = {
    "law": Kind(truth=drawn, device=knee),
    "valley": Kind(truth=drawn, device=one_valley),
    "equal": Kind(truth=drawn, device=all_equal),
    "noisy": Kind(truth=partial(drawn, scatter=WIDE), device=knee),
    "slow seed": Kind(truth=with_a_slow_seed, device=knee),
    "end": Kind(truth=with_an_end, device=knee),
    **{
        f"planned {epochs}": Kind(truth=ends_alike, device=same_step_time, planned_epochs=epochs)
        for epochs in (8, 10, 14)
    },
    **{
        f"exponent {exponent}": Kind(truth=partial(drawn, exponent=exponent), device=knee)
        for exponent in (0.6, 0.8, 0.9, 1.1, 1.25, 1.5)
    },
}
