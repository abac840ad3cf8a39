"""Made-up noise along a training: gradients of Gaussian examples with a known mean and spread."""

import numpy as np

from batchlab.measure.noise import Noise, NoisePoint, NoiseWorkload
from batchlab.records.noise import GradientSample

N_TRAIN = 10_000
DIMENSION = 20


def made_up_sample(scale: float, *, seed: int) -> GradientSample:
    """Sixteen blocks of examples whose noise scale is `scale`; infinite: their mean is 0."""
    stream = np.random.default_rng(seed)
    mean = (1 / scale) ** 0.5
    blocks = mean + stream.standard_normal((16, 64, DIMENSION))
    means = blocks.mean(axis=1)
    return GradientSample(
        n_train=N_TRAIN,
        block_examples=64,
        products=tuple(map(tuple, (means @ means.T).tolist())),
    )


def made_up_point(step: int, scale: float) -> NoisePoint:
    sample = made_up_sample(scale, seed=step)
    return NoisePoint.of(sample, step=step, samples=64 * step, took_s=0.1)


def made_up_noise(*points: NoisePoint, steps=(), stopped=None) -> Noise:
    """A noise scale that grows from 20 to 200, if no points are given."""
    chosen = points or (made_up_point(0, 20.0), made_up_point(100, 200.0))
    return Noise(
        workload=NoiseWorkload(
            workload_id="w", name="made-up", n_train=N_TRAIN, batch_size=64, learning_rate=0.1
        ),
        device="cpu",
        environment=(("python", "3.11"),),
        created_at="2026-01-01T00:00:00+00:00",
        along=chosen,
        steps=steps or tuple(point.step for point in chosen),
        stopped=stopped,
    )
