"""Slow twins of the noise scale: straight from the definitions, from single gradients."""

from collections.abc import Sequence

import numpy as np

from batchlab.records.noise import GradientSample

Vectors = Sequence[Sequence[float]]


def population(gradients: Vectors) -> tuple[float, float]:
    """tr Sigma (divided by N) and |G|^2 of a whole set of per-example gradients."""
    mean = np.mean(gradients, axis=0)
    trace = np.square(gradients - mean).sum(axis=1).mean()
    return float(trace), float(mean @ mean)


def sample_of(blocks: Sequence[Vectors], *, n_train: int) -> GradientSample:
    """The sample of these blocks of per-example gradients, which are of one size."""
    means = np.mean(blocks, axis=1)
    products = tuple(map(tuple, (means @ means.T).tolist()))
    return GradientSample(n_train=n_train, block_examples=len(blocks[0]), products=products)
