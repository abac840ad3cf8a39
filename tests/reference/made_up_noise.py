"""Made-up noise along a training: gradients of Gaussian examples with a known mean and spread."""

import numpy as np

from batchlab.measure.noise import Noise, NoisePoint, NoiseWorkload
from batchlab.records.noise import GradientSample

N_TRAIN = 10_000


def made_up_noise(*scales: tuple[int, float], stopped=None) -> Noise:
    """The noise scale at each of these steps; infinite: the mean gradient is 0."""
    scales = scales or ((0, 20.0), (100, 200.0))
    along = []
    for step, scale in scales:
        stream = np.random.default_rng(step)
        means = (scale**-0.5 + stream.standard_normal((16, 64, 20))).mean(axis=1)
        products = tuple(map(tuple, (means @ means.T).tolist()))
        sample = GradientSample(n_train=N_TRAIN, block_examples=64, products=products)
        along.append(NoisePoint.of(sample, step=step, samples=64 * step))
    return Noise(
        workload=NoiseWorkload(
            workload_id="w", name="made-up", n_train=N_TRAIN, batch_size=64, learning_rate=0.1
        ),
        device="cpu",
        environment=(("python", "3.11"),),
        created_at="2026-01-01T00:00:00+00:00",
        along=tuple(along),
        steps=tuple(step for step, _ in scales),
        stopped=stopped,
    )
