"""NoiseScale: how noisy the gradient of a mini-batch is, from a sample of gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from batchlab.records.estimate import Estimate, Reason
from batchlab.records.noise import GradientSample

Array = NDArray[np.float64]
_UPPER = 0.975
# If |G|^2 is not significantly above 0, advise a sample at least this many times as large.
_LEAST_MORE = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseScale:
    """The squared gradient of the training set, the gradient's noise, and the noise scale.

    Attributes:
        grad_sq: |G|^2, the squared norm of the mean gradient of the N training examples (or of the
            expected gradient, if gradients are random or the stream of examples is endless).
        trace: tr Sigma, the variance of a single example's gradient, summed over its components.
        scale: B_simple = tr Sigma / |G|^2, in examples: the batch size at which the noise is as
            large as the gradient.
    """

    grad_sq: Estimate
    trace: Estimate
    scale: Estimate


def noise_scale(sample: GradientSample) -> NoiseScale:
    """Estimate the gradient noise scale of the training set from a sample of its gradients.

    The estimates of |G|^2 and tr Sigma are unbiased for the finite training set. Their intervals
    come from the delete-one-block jackknife. The variance of |G|^2 is multiplied by 1 - n/N for n
    sampled of N examples. The scale is the ratio tr Sigma / |G|^2, with Fieller's interval.

    Args:
        sample: a sample of three or more blocks.

    Returns:
        The three estimates; their `n` is the number of blocks. If |G|^2 is not significantly above
        0, the scale has only a lower bound, and its reason says how many examples would be needed.

    Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1 (the estimators); Fieller 1954
        (the interval of the ratio).
    """
    point = _point(sample)
    if not np.isfinite(point).all():
        none = Estimate.cannot_tell(Reason.of("gradient_not_finite"))
        return NoiseScale(grad_sq=none, trace=none, scale=none)
    covariance = _covariance(sample)
    n_blocks = sample.n_blocks
    trace, grad_sq = point.tolist()
    halves = stdtrit(n_blocks - 1, _UPPER) * np.sqrt(np.diag(covariance))
    trace_half, grad_sq_half = halves.tolist()
    return NoiseScale(
        grad_sq=_around(grad_sq, grad_sq_half, n_blocks),
        trace=_around(trace, trace_half, n_blocks),
        scale=_ratio(point, covariance, n_blocks, _lost_in_noise(grad_sq, grad_sq_half, sample)),
    )


def _point(sample: GradientSample) -> Array:
    """Estimate (tr Sigma, |G|^2) from all blocks of the sample."""
    products = np.asarray(sample.products)
    block_sq, mean_sq = np.diag(products).mean(), products.mean()
    return _estimators(sample, sample.n_examples, block_sq, mean_sq)


def _covariance(sample: GradientSample) -> Array:
    """Return the delete-one-block jackknife covariance of (tr Sigma, |G|^2), shape (2, 2)."""
    products, n_blocks = np.asarray(sample.products), sample.n_blocks
    own = np.diag(products)
    mean_sq = (products.sum() - 2 * products.sum(axis=0) + own) / (n_blocks - 1) ** 2
    block_sq = (own.sum() - own) / (n_blocks - 1)
    left = sample.n_examples - sample.block_examples
    without = _estimators(sample, left, block_sq, mean_sq)
    spread = np.cov(without) * (n_blocks - 1) ** 2 / n_blocks
    # Multiply variances by `unseen`, the fraction of the training examples outside the sample. If
    # the sample has all examples, |G|^2 is exact, but tr Sigma still depends on which examples
    # share a block. So add the variance of tr Sigma due to the random division into blocks; it is
    # estimated from the products of the gradients of different blocks.
    unseen = 1 - sample.n_examples * _of_set(sample)
    centered = products - products.mean(axis=0) - products.mean(axis=1)[:, None] + products.mean()
    apart = sample.block_examples * centered[~np.eye(n_blocks, dtype=bool)]
    of_cut = min(spread[0, 0], 2 * np.mean(apart**2) / (n_blocks - 1))
    spread *= unseen
    spread[0, 0] += (1 - unseen) * of_cut
    return np.asarray(spread)


def _of_set(sample: GradientSample) -> float:
    """Return 1/N, or 0 if the number N of training examples is infinite."""
    return 0.0 if sample.n_train is None else 1 / sample.n_train


def _estimators(sample: GradientSample, n: int, block_sq: Array, mean_sq: Array) -> Array:
    """Estimate (tr Sigma, |G|^2) from the squared norms of mean gradients.

    G is the mean gradient of all training examples, and Sigma the covariance of single examples'
    gradients. `block_sq` is |mean gradient of a block|^2, averaged over the blocks; `mean_sq` is
    |mean gradient of all `n` examples|^2.
    """
    of_set = _of_set(sample)
    # `sample_trace` has the denominator N - 1, but the returned tr Sigma has the denominator N.
    sample_trace = (block_sq - mean_sq) / (1 / sample.block_examples - 1 / n)
    grad_sq = mean_sq - sample_trace * (1 / n - of_set)
    return np.stack([sample_trace * (1 - of_set), grad_sq])


def _around(value: float, half: float, n: int) -> Estimate:
    return Estimate.of(value, interval=(value - half, value + half), n=n)


def noise_scale_of_pairs(traces: Sequence[float], grad_sqs: Sequence[float]) -> Estimate:
    """Estimate the noise scale from independent pairs of estimates of tr Sigma and |G|^2.

    The result is mean tr Sigma / mean |G|^2 with Fieller's interval. If |G|^2 is not significantly
    above 0, the result has only a lower bound.

    Args:
        traces: at least three unbiased estimates of tr Sigma.
        grad_sqs: unbiased estimates of |G|^2, one for each of `traces`, in the same order.
    """
    pairs, n = np.array([traces, grad_sqs]), len(traces)
    lost = Reason.of("gradient_lost_in_batches", n=n)
    return _ratio(pairs.mean(axis=1), np.cov(pairs) / n, n, lost)


def _ratio(point: Array, covariance: Array, n: int, lost: Reason) -> Estimate:
    """Return tr Sigma / |G|^2, or a bound and the reason `lost` if |G|^2 may be 0."""
    trace, grad_sq = point.tolist()
    low, high = _fieller(trace, grad_sq, covariance, float(stdtrit(n - 1, _UPPER)))
    if high is None:
        return Estimate.cannot_tell(lost, low=low, n=n)
    return Estimate.of(trace / grad_sq, interval=(low, high), n=n)


def _lost_in_noise(grad_sq: float, half: float, sample: GradientSample) -> Reason:
    """Return the reason "|G|^2 may be 0", with the number of examples likely needed to tell."""
    could_be = grad_sq if grad_sq > 0 else grad_sq + half
    more = max(_LEAST_MORE, half / could_be) if could_be > 0 else _LEAST_MORE
    needed = math.ceil(more * sample.n_examples)
    return Reason.of(
        "gradient_lost_in_noise",
        n=sample.n_examples,
        value=grad_sq,
        low=grad_sq - half,
        high=grad_sq + half,
        n_needed=min(sample.n_train or needed, needed),
    )


def _fieller(
    trace: float, grad_sq: float, covariance: Array, quantile: float
) -> tuple[float | None, float | None]:
    """Return Fieller's interval of the ratio tr Sigma / |G|^2.

    The interval contains every ratio r for which tr Sigma - r |G|^2 is at most `quantile` standard
    deviations away from 0. The upper bound is None if |G|^2 is not significantly above 0, because
    the interval is then unbounded. The lower bound is None if tr Sigma is not significantly
    different from 0.
    """
    square = quantile**2
    a = grad_sq**2 - square * covariance[1, 1]
    b = trace * grad_sq - square * covariance[0, 1]
    c = trace**2 - square * covariance[0, 0]
    root = math.sqrt(max(b * b - a * c, 0.0))
    low = float((b - root) / a) if c > 0 and a != 0 else None
    if grad_sq > 0 and a > 0:
        return low, float((b + root) / a)
    # The interval has no upper bound. If a < 0, it begins at the larger root of a r^2 - 2 b r + c.
    return low, None
