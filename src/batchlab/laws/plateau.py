"""Plateau: the epoch after which a validation curve is not expected to improve any further."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, stdtrit

from batchlab.records.estimate import Reason
from batchlab.records.quantities import FRACTION_METRICS, Better
from batchlab.records.trial import Status, TrialRecord

Array = NDArray[np.float64]
Index = NDArray[np.int64]

# A fit has up to five parameters (level, rise, rate, noise, offset), so require six points.
MIN_POINTS = 6
MAX_CURVES = 400  # The most curves that `fit_learning_curves` returns.

# The range of log(rate) in fitted curves of the form exp(-rate × epoch).
_RATE = (math.log(0.004), math.log(5.0))
_POWER = (math.log(0.1), math.log(6.0))  # The range of log(power) in (epoch + offset)^-power.
_OFFSET = (-1.0, 5.0)  # The range of log2(1 + offset) in (epoch + offset)^-power.
_N_RATES, _N_POWERS, _N_OFFSETS = 300, 40, 12
# A fit may skip the first points of a curve. The number of skipped points is one of _STARTS, or the
# number of points times one of _START_FRACTIONS.
_STARTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24)
_START_FRACTIONS = (1 / 3, 1 / 2, 2 / 3)
# The rise of a fitted curve is uncertain; its values at these 15 quantiles are used.
_LEVELS = (np.arange(15) + 0.5) / 15
_LIKELY = 1e-4  # Curves with less than this fraction of the largest weight are dropped.


@dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """The shapes of m learning curves: which fraction of its rise each still has ahead at epoch t.

    The fraction is exp(-rate t) for an exponential, and (t + offset)^-power for a power law.
    """

    exponential: NDArray[np.bool_]  # True for an exponential, false for a power law, shape (m,).
    rate: Array  # The rate per epoch of an exponential, or the power of a power law, shape (m,).
    offset: Array  # The offset of a power law in epochs, shape (m,); 0 for an exponential.

    def left(self, t: Array) -> Array:
        """Return the fraction of each curve's rise that is ahead at epochs t, shape (m, len(t))."""
        rate = self.rate[:, None]
        # A power law is infinite at t + offset = 0 (the untrained model), so use at least 0.5.
        base = np.maximum(t[None, :] + self.offset[:, None], 0.5)
        return np.exp(-rate * np.where(self.exponential[:, None], t[None, :], np.log(base)))

    def of(self, row: Index) -> Shapes:
        """Return the shapes at the indices `row`."""
        return Shapes(
            exponential=self.exponential[row], rate=self.rate[row], offset=self.offset[row]
        )


def fit_learning_curves(t: Array, y: Array, *, resolution: float) -> tuple[Shapes, Array, Array]:
    """Fit exponential and power-law curves to a noisy learning curve, weighted by probability.

    A fitted curve is level - rise * left(t). Its level is its limit after infinitely many epochs,
    and left(t) is the fraction of the rise that is ahead at epoch t (see `Shapes.left`). A fit may
    leave out the first points, because the first epochs of a real training follow neither law.

    Priors: an exponential has the probability 1/2, and so has a power law; each is uniform in the
    logs of its parameters. Level and rise (over the fitted points) are flat. The prior of the noise
    variance counts as one residual of `resolution` / 4 (inverse chi-square), so even a curve
    without noise gives an uncertain result. The points that a fit leaves out are assumed to be
    uniformly distributed over the range of y.

    Args:
        t: epochs, shape (n,), increasing, >= 0, n >= MIN_POINTS.
        y: the curve's value at each epoch, shape (n,), finite; higher is better.
        resolution: the smallest difference in y that matters, > 0.

    Returns:
        The shapes of at most MAX_CURVES curves, 15 equally likely values of each curve's rise,
        shape (m, 15), and the probability of each curve, shape (m,).

    Source: averaging over families of learning curves after Domhan, Springenberg and Hutter 2015
        (IJCAI, section 3); grids and priors are batchlab's.
    """
    shapes, log_prior = _all_shapes()
    rise, error, degrees, log_weight = _fits(shapes, t, y, resolution=resolution)
    log_weight += log_prior[:, None]
    row, start, weight = _representatives(np.exp(log_weight - log_weight.max()))
    quantiles = stdtrit(degrees[start][:, None], _LEVELS[None, :])
    rises = rise[row, start][:, None] + error[row, start][:, None] * quantiles
    return shapes.of(row), rises, weight


def _all_shapes() -> tuple[Shapes, Array]:
    """Return the shapes to fit (exponentials, then power laws) and their log prior probability."""
    rate = np.linspace(*_RATE, _N_RATES)
    offset = np.repeat(2.0 ** np.linspace(*_OFFSET, _N_OFFSETS) - 1, _N_POWERS)
    power = np.tile(np.linspace(*_POWER, _N_POWERS), _N_OFFSETS)
    exponential = np.arange(_N_RATES + power.size) < _N_RATES
    shapes = Shapes(
        exponential=exponential,
        rate=np.exp(np.concatenate([rate, power])),
        offset=np.concatenate([np.zeros(_N_RATES), offset]),
    )
    return shapes, -np.log(np.where(exponential, 2.0 * _N_RATES, 2.0 * power.size))


def _fits(
    shapes: Shapes, t: Array, y: Array, *, resolution: float
) -> tuple[Array, Array, Array, Array]:
    """Fit the level and rise of every shape to the points from each starting point to the last.

    Return the rises, their standard errors, the errors' degrees of freedom, and the log likelihood
    of the points up to a constant. These are arrays with one row per shape and one column per
    starting point, but the degrees of freedom have only the shape (starting points,).
    """
    starts = _starts(len(t))
    n = len(t) - starts
    left = shapes.left(t)
    ahead, value = left - left[:, -1:], y - y[-1]
    # How much of the curve's rise lies within the fitted points, as a fraction of the whole rise.
    # The array has a row for each shape of the curve and a column for each first fitted point.
    span = ahead[:, starts]
    visible = span > 1e-9 * left[:, :1]  # If false, the shape is flat over the fitted points.
    span = np.where(visible, span, 1.0)
    sum_ahead, sum_value = _tails(ahead)[:, starts] / span, _tails(value)[starts]
    square = _tails(ahead**2)[:, starts] / span**2 - sum_ahead**2 / n
    square = np.where(visible, square, 1.0)
    product = _tails(ahead * value)[:, starts] / span - sum_ahead * sum_value / n
    rise = -product / square
    total = _tails(value**2)[starts] - sum_value**2 / n
    residual = np.maximum(total - rise**2 * square, 0.0) + (resolution / 4) ** 2
    degrees = np.asarray(n - 1.0, dtype=float)  # n points - 2 parameters + 1 for the prior
    error = np.sqrt(residual / degrees) / np.sqrt(square)
    log_weight = (
        -0.5 * np.log(square)
        - 0.5 * degrees * np.log(residual)
        + gammaln(0.5 * degrees)
        - 0.5 * n * np.log(np.pi)
        - starts * np.log(float(np.ptp(y)) + resolution)
    )
    return rise / span, error / span, degrees, np.where(visible, log_weight, -np.inf)


def _tails(rows: Array) -> Array:
    """Return, along the last axis, the sum of each entry and all entries after it."""
    return np.cumsum(rows[..., ::-1], axis=-1)[..., ::-1]


def _starts(n: int) -> Index:
    """Return indices at which fits to n points start; each fit has at least MIN_POINTS points."""
    starts = {start for start in _STARTS if start <= n // 2}
    starts |= {int(fraction * n) for fraction in _START_FRACTIONS}
    return np.array(sorted(start for start in starts if start == 0 or n - start >= MIN_POINTS))


def _representatives(weight: Array) -> tuple[Index, Index, Array]:
    """Return rows, columns and normalized weights of the likely entries of `weight`.

    If more than MAX_CURVES entries are likely, take MAX_CURVES at evenly spaced values of the
    cumulative weight. So entries are chosen in proportion to their weights, but not at random.
    """
    row, column = np.nonzero(weight > _LIKELY * weight.max())
    shares = weight[row, column] / weight[row, column].sum()
    if len(shares) <= MAX_CURVES:
        return row, column, shares
    places = (np.arange(MAX_CURVES) + 0.5) / MAX_CURVES
    drawn = np.minimum(np.searchsorted(np.cumsum(shares), places), len(shares) - 1)
    return row[drawn], column[drawn], np.full(MAX_CURVES, 1 / MAX_CURVES)


PlateauVerdict = Literal["reached", "not_yet", "cannot_tell"]

# A curve is at a plateau if it gains little in this many epochs. The gain in a single epoch would
# be smaller than the noise of most curves.
HORIZON_EPOCHS = 5
# The least gain in accuracy that matters. It is 1.4 standard errors of an accuracy of 0.98 on
# 10,000 validation examples, so a single run could not show a smaller gain there.
FRACTION_DELTA = 0.002
# The least gain that matters in a loss, as a fraction of the loss at the end of the curve.
RELATIVE_DELTA = 0.01
# The verdict is "reached" only if the curve has reached a plateau with at least this probability.
REACHED_PROBABILITY = 0.5
# The verdict is "not_yet" only if the curve has reached a plateau with at most this probability.
NOT_YET_PROBABILITY = 0.1
# The verdict is not "reached" if, with at least this probability, the metric will improve by at
# least twice the gain that matters in the next HORIZON_EPOCHS epochs.
STILL_RISING_PROBABILITY = 0.02
# A plateau counts only if it is better than the untrained model by this many gains that matter.
STARTED_DELTAS = 10
_NO_GAIN = 1e-3  # Report gains below this fraction of the gain that matters as 0.
TURN_STANDARD_ERRORS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPlateau:
    """Whether and where a validation curve has stopped improving.

    Attributes:
        verdict: "reached", "not_yet" or "cannot_tell".
        reason: why the verdict was given; for "cannot_tell", also what would allow a verdict.
        epoch: the first epoch of the plateau, or None if the verdict is not "reached".
        turned: whether the curve has become significantly worse after its best epoch.
        worsens: whether `HORIZON_EPOCHS` more epochs are expected to worsen the metric noticeably,
            although `turned` is still false.
    """

    verdict: PlateauVerdict
    reason: Reason
    epoch: int | None = None
    turned: bool = False
    worsens: bool = False


def default_delta(metric: str, values: ArrayLike) -> float:
    """Return the least improvement that matters: 0.002 (accuracy, error) or 1 % of the final value.

    An accuracy or error with values above 1 is in percent, so its delta is 0.2.

    Args:
        metric: the metric's name.
        values: the metric's curve, n >= 1. Its final value is the median of the last 5 absolute
            values.

    Returns:
        Delta in the metric's unit, > 0.
    """
    curve = np.asarray(values, dtype=float)
    if metric in FRACTION_METRICS:
        return FRACTION_DELTA if np.max(np.abs(curve)) <= 1 else 100 * FRACTION_DELTA
    level = float(np.median(np.abs(curve[-HORIZON_EPOCHS:])))
    # If the final value is 0, use a thousandth of the metric's range. If the metric is always 0,
    # the range is 0, too, but then any delta gives the same verdict.
    return RELATIVE_DELTA * level or 1e-3 * float(np.ptp(curve)) or 1.0


def plateau_of(record: TrialRecord, *, metric: str, better: Better) -> MetricPlateau:
    """Judge whether and where a trial's validation metric has stopped improving.

    Args:
        record: the trial; only its status and validation scores are read.
        metric: name of the metric.
        better: whether a better value of the metric is higher or lower.

    Returns:
        The verdict of `find_plateau` on the values at epoch ends. The verdict is "cannot_tell" if
        the trial has no validation data or diverged, or if its plateau is hardly better than the
        untrained model.
    """
    whole = record.at_epoch_ends("validation", metric)
    untrained = whole.pop(0, None)
    if record.status in (Status.DIVERGED, Status.NAN):
        reason = Reason.of("no_level_after_bad_end", status=record.status.value)
        return MetricPlateau(verdict="cannot_tell", reason=reason)
    if not whole:
        reason = Reason.of("no_validation_at_epoch_end", metric=metric)
        return MetricPlateau(verdict="cannot_tell", reason=reason)
    values = list(whole.values())
    delta = default_delta(metric, values)
    plateau = find_plateau(list(whole), values, better=better, delta=delta)
    if untrained is not None and plateau.verdict == "reached":
        sign = 1 if better == "higher" else -1
        gained = float(np.max(sign * (np.array(values) - untrained)))
        if gained < STARTED_DELTAS * delta:
            reason = Reason.of("flat_as_untrained", metric=metric, gained=gained)
            return MetricPlateau(verdict="cannot_tell", reason=reason)
    return plateau


def find_plateau(
    epochs: Sequence[float], values: Sequence[float], *, better: Better, delta: float
) -> MetricPlateau:
    """Find the first epoch after which HORIZON_EPOCHS more are expected to gain less than delta.

    Args:
        epochs: the epochs of the measurements, shape (n,), increasing, >= 0; may be fractions.
        values: the metric at each of `epochs`, shape (n,), finite.
        better: whether a better value of the metric is higher or lower.
        delta: the least improvement in `HORIZON_EPOCHS` epochs that matters (metric's unit, > 0).

    Returns:
        The verdict. Its reason contains the expected improvement after the last epoch, unless the
        curve is too short or has become worse.

    Source: the rule and its thresholds are batchlab's, measured in tests/laws/test_plateau.py.
    """
    t, y = np.asarray(epochs, dtype=float), np.asarray(values, dtype=float)
    if better == "lower":
        y = -y
    n = len(t)
    if n < MIN_POINTS or t[-1] < 1:
        reason = Reason.of("too_few", what="epochs", n=n, needed=MIN_POINTS)
        return MetricPlateau(verdict="cannot_tell", reason=reason)
    peak = _turned_at(y, delta=delta)
    if peak is None:
        return _judged(t, y, delta=delta)
    epoch = None
    if peak + 1 >= MIN_POINTS:
        epoch = _judged(t[: peak + 1], y[: peak + 1], delta=delta).epoch
    turned_at = round(float(t[peak]))
    worse = Reason.of("worse_since_best", epoch=turned_at, delta=delta)
    return MetricPlateau(
        verdict="reached",
        epoch=epoch or max(1, turned_at),
        turned=True,
        reason=worse,
    )


def _turned_at(y: Array, *, delta: float) -> int | None:
    """Return the index of a curve's peak if the curve has clearly fallen since, else None.

    The fall is the mean of three values around the peak, less the mean of the later half of the
    values after the peak. The fall must exceed delta and 4 of its standard errors.
    """
    smooth = np.convolve(y, np.ones(3) / 3, mode="valid")
    peak = int(np.argmax(smooth)) + 1
    later = y[peak + 2 :]
    if len(later) < 3:
        return None
    tail = later[len(later) // 2 :]
    fall = float(smooth[peak - 1] - tail.mean())
    # Second differences of a curve without noise are nearly 0, so they measure the noise.
    noise = 1.4826 * float(np.median(np.abs(np.diff(y, 2)))) / 6**0.5
    standard_error = noise * (1 / 3 + 1 / len(tail)) ** 0.5
    return peak if fall > max(delta, TURN_STANDARD_ERRORS * standard_error) else None


def _judged(t: Array, y: Array, *, delta: float) -> MetricPlateau:
    """Judge a curve that has not become worse since its peak, by averaging all likely fits."""
    first, last = max(1, int(np.ceil(t[0]))), int(np.floor(t[-1]))
    epoch, gain, weight = _plateaus(t, y, first=first, last=last, delta=delta)
    reached = float(weight[epoch <= last].sum())
    rising = float(weight[gain >= 2 * delta].sum())
    middle = _median(gain, weight)
    if abs(middle) <= _NO_GAIN * delta:
        middle = 0.0  # report a gain far below delta (1e-28, say) as 0
    expected = Reason.of("epochs_to_bring", horizon=HORIZON_EPOCHS, delta=delta, gain=middle)
    verdict: PlateauVerdict = "cannot_tell"
    at, reason = None, expected
    if reached >= REACHED_PROBABILITY and rising < STILL_RISING_PROBABILITY:
        verdict, at = "reached", int(_median(epoch.astype(float), weight))
    elif reached <= NOT_YET_PROBABILITY:
        verdict = "not_yet"
    else:
        reason = Reason.of("plateau_open", expected=expected)
    return MetricPlateau(
        verdict=verdict,
        epoch=at,
        worsens=middle < -delta,
        reason=reason,
    )


def _plateaus(
    t: Array, y: Array, *, first: int, last: int, delta: float
) -> tuple[Index, Array, Array]:
    """Return the plateau epoch, the gain and the probability of each of m likely fitted curves.

    The gain is the improvement in HORIZON_EPOCHS epochs after the epoch `last`. Each array has
    shape (m,). The plateau epoch `last` + 1 means that the plateau is not reached by `last`.
    """
    whole = np.arange(first, last + 1, dtype=float)
    laws, rise, weight = fit_learning_curves(t, y, resolution=delta)
    # For each curve and epoch, the fraction of the rise in the HORIZON_EPOCHS epochs that follow.
    # It decreases from epoch to epoch, so the search below can bisect.
    drop = laws.left(whole) - laws.left(whole + HORIZON_EPOCHS)
    gain = rise * drop[:, -1:]
    # A curve's rise, times `drop` at an epoch, is its gain in the next HORIZON_EPOCHS epochs. The
    # plateau is the first epoch whose gain is below delta, or `first` if the curve does not rise.
    epoch = np.array(
        [
            # A rise below a millionth of delta is negligible; this avoids a division by 0.
            np.searchsorted(-row, -delta / np.maximum(rises, 1e-6 * delta), side="right")
            for row, rises in zip(drop, rise, strict=True)
        ]
    )
    n_rises = rise.shape[1]
    levels = (first + np.where(rise > 0, epoch, 0)).ravel()
    return levels, gain.ravel(), np.repeat(weight / n_rises, n_rises)


def _median(values: Array, weight: Array) -> float:
    order = np.argsort(values, kind="stable")
    place = np.searchsorted(np.cumsum(weight[order]), 0.5 * (1 - 1e-12))
    return float(values[order][min(int(place), len(values) - 1)])
