"""Plateau: the epoch after which more epochs are not expected to help, or why none is known.

The rule: the plateau is the first epoch k at which the curve's *expected* improvement from k to
k + h is below delta. Measured values wobble, so the expectation is taken over curves, not over
points: every curve of two families (exponential and power-law approach to a level) is fitted by
linear least squares, weighted by how well it explains the values, and asked for its own k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from batchlab.errors import UsageError
from batchlab.laws.learning_curve import MIN_POINTS, fit_learning_curves
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.reason import Reason
from batchlab.records.trial import Status, TrialRecord

PlateauVerdict = Literal["reached", "not_yet", "cannot_tell"]
Array = NDArray[np.float64]

# Five epochs are what people call "a few more"; one epoch is within the noise of most curves.
HORIZON_EPOCHS = 5
# 20 of 10,000 validation examples: about 1.4 standard errors of an accuracy of 0.98 there, so a
# gain below it could not be shown on that validation set by one run anyway.
FRACTION_DELTA = 0.002
# A loss has no common scale, so its delta follows its level: another hundredth off.
RELATIVE_DELTA = 0.01
FRACTION_METRICS = ("accuracy", "error")  # between 0 and 1
REACHED_PROBABILITY = 0.5  # "reached" needs at least this much of the weight within the curve
NOT_YET_PROBABILITY = 0.1  # and "not yet" at most this much; in between: "cannot_tell"
# A "reached" must all but exclude that the next h epochs would still bring twice delta.
STILL_RISING_PROBABILITY = 0.02
# A flat curve at the very start (nothing learned yet) looks like a plateau and is none.
STARTED_DELTAS = 10
TURN_STANDARD_ERRORS = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plateau:
    """Whether and where a validation curve has stopped improving.

    Attributes:
        verdict: "reached", "not_yet" or "cannot_tell".
        epoch: the plateau's epoch; None unless reached.
        expected_improvement: what `horizon_epochs` more epochs would bring after the last one,
            in the metric's unit, positive is better.
        turned: whether the curve has got worse again after its best.
        worsens: whether `horizon_epochs` more epochs are expected to make it worse by more than
            delta, though it has not clearly turned yet.
        horizon_epochs: h of the rule.
        reason: what was seen, and for "cannot_tell" what would settle it.
    """

    verdict: PlateauVerdict
    epoch: int | None
    expected_improvement: Estimate
    turned: bool
    worsens: bool
    horizon_epochs: int
    reason: Reason


def default_delta(metric: str, values: ArrayLike) -> float:
    """The smallest improvement that counts: 0.002 for accuracy and error, else 1 % of the level.

    An accuracy or error with values above 1 is in percent: 0.2 of them count.

    Args:
        metric: the metric's name.
        values: its curve, shape (n,), n >= 1; the level is the median size of the last five.

    Returns:
        Delta in the metric's unit, > 0.
    """
    curve = np.asarray(values, dtype=float)
    if metric in FRACTION_METRICS:
        return FRACTION_DELTA if np.max(np.abs(curve)) <= 1 else 100 * FRACTION_DELTA
    level = float(np.median(np.abs(curve[-HORIZON_EPOCHS:])))
    # A metric that ends at 0 has no level; a thousandth of its range stands in. A constant 0 has
    # neither, and then every delta gives the same answer.
    return RELATIVE_DELTA * level or 1e-3 * float(np.ptp(curve)) or 1.0


def plateau_of(record: TrialRecord, *, metric: str, better: Better) -> Plateau:
    """The plateau of a trial's validation curve at epoch ends.

    Args:
        record: the trial; only its validation scores are read.
        metric: name of the metric.
        better: whether it goes up or down.

    Returns:
        The verdict by the default h and delta; "cannot_tell" for a trial without validation data,
        one that diverged, and one whose metric has hardly moved from the untrained model's.
    """
    whole = record.at_epoch_ends("validation", metric)
    untrained = whole.pop(0, None)

    def cannot_tell(reason: Reason) -> Plateau:
        return _cannot_tell(reason, n=len(whole), horizon_epochs=HORIZON_EPOCHS)

    if record.status in (Status.DIVERGED, Status.NAN):
        return cannot_tell(Reason.of("no_level_after_bad_end", status=record.status.value))
    if not whole:
        return cannot_tell(Reason.of("no_validation_at_epoch_end", metric=metric))
    values = list(whole.values())
    delta = default_delta(metric, values)
    plateau = find_plateau(list(whole), values, better=better, delta=delta)
    best = max(values) if better == "higher" else min(values)
    if untrained is not None and plateau.verdict == "reached":
        gained = best - untrained if better == "higher" else untrained - best
        if gained < STARTED_DELTAS * delta:
            return cannot_tell(Reason.of("flat_as_untrained", metric=metric, gained=gained))
    return plateau


def find_plateau(
    epochs: ArrayLike,
    values: ArrayLike,
    *,
    better: Better,
    delta: float,
    horizon_epochs: int = HORIZON_EPOCHS,
) -> Plateau:
    """The first epoch after which h more epochs are expected to improve a curve by under delta.

    Args:
        epochs: where the curve was measured, shape (n,), increasing, >= 0; whole or not.
        values: the curve, shape (n,), finite.
        better: whether the metric goes up or down.
        delta: the improvement over h epochs that still counts, > 0, in the metric's unit.
        horizon_epochs: h, >= 1.

    Returns:
        The verdict with the expected improvement after the last epoch.

    Raises:
        UsageError: curves of two lengths, epochs that do not increase, values that are not
            finite, or an h or delta out of range.

    Source: the rule and its thresholds are batchlab's, measured in tests/laws/test_plateau.py.
    """
    t, y = _checked(epochs, values, horizon_epochs=horizon_epochs, delta=delta)
    if better == "lower":
        y = -y
    if len(t) < MIN_POINTS or t[-1] < 1:
        return _cannot_tell(
            Reason.of("curve_too_short", n=len(t), needed=MIN_POINTS),
            n=len(t),
            horizon_epochs=horizon_epochs,
        )
    peak = _turned_at(y, delta=delta)
    if peak is not None:
        return _turned_plateau(t, y, peak, horizon_epochs=horizon_epochs, delta=delta)
    return _judged(_Posterior.of(t, y, horizon_epochs, delta), n=len(t))


def _checked(
    epochs: ArrayLike, values: ArrayLike, *, horizon_epochs: int, delta: float
) -> tuple[Array, Array]:
    t, y = np.asarray(epochs, dtype=float), np.asarray(values, dtype=float)
    if t.ndim != 1 or t.shape != y.shape:
        raise UsageError(
            f"epochs of shape {t.shape} and values of shape {y.shape}: a curve needs two "
            "sequences of one length"
        )
    if not (np.isfinite(t).all() and np.isfinite(y).all()):
        raise UsageError(
            "the curve holds values that are not finite: a trial that diverged has no plateau; "
            "leave those evaluations out"
        )
    if (t < 0).any() or (np.diff(t) <= 0).any():
        raise UsageError("epochs must be at least 0 and increase; sort the evaluations by epoch")
    if horizon_epochs < 1 or not 0 < delta < np.inf:
        raise UsageError(
            f"horizon_epochs={horizon_epochs}, delta={delta}: expected at least one epoch and a "
            "finite delta above 0"
        )
    return t, y


def _cannot_tell(reason: Reason, *, n: int, horizon_epochs: int) -> Plateau:
    return Plateau(
        verdict="cannot_tell",
        epoch=None,
        expected_improvement=Estimate.cannot_tell(reason, n=n),
        turned=False,
        worsens=False,
        horizon_epochs=horizon_epochs,
        reason=reason,
    )


def _turned_at(y: Array, *, delta: float) -> int | None:
    """The index of the peak of a curve (up is better) that has fallen since, None if it has not.

    The fall is from the mean of three values at the peak to the mean of the later half of what
    follows; it has to exceed delta and what the scatter of the two means makes likely.
    """
    smooth = np.convolve(y, np.ones(3) / 3, mode="valid")
    peak = int(np.argmax(smooth)) + 1
    later = y[peak + 2 :]
    if len(later) < 3:
        return None
    tail = later[len(later) // 2 :]
    fall = float(smooth[peak - 1] - tail.mean())
    # Second differences cancel a smooth curve, so their scatter is that of the noise alone.
    noise = 1.4826 * float(np.median(np.abs(np.diff(y, 2)))) / 6**0.5
    standard_error = noise * (1 / 3 + 1 / len(tail)) ** 0.5
    return peak if fall > max(delta, TURN_STANDARD_ERRORS * standard_error) else None


def _turned_plateau(t: Array, y: Array, peak: int, *, horizon_epochs: int, delta: float) -> Plateau:
    """The plateau of a curve that has turned: at its peak, or earlier by the fit of its rise."""
    epoch = max(1, round(float(t[peak])))
    if peak + 1 >= MIN_POINTS:
        rise = _judged(
            _Posterior.of(t[: peak + 1], y[: peak + 1], horizon_epochs, delta), n=peak + 1
        )
        if rise.epoch is not None:
            epoch = rise.epoch
    return Plateau(
        verdict="reached",
        epoch=epoch,
        expected_improvement=Estimate.cannot_tell(Reason.of("curve_has_turned"), n=len(t)),
        turned=True,
        worsens=False,
        horizon_epochs=horizon_epochs,
        reason=Reason.of("worse_since_best", epoch=round(float(t[peak])), delta=delta),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Posterior:
    """Weighted curves: where each has its plateau and what it still gains after the last epoch."""

    last_epoch: int
    epoch: NDArray[np.int64]  # shape (m,); last_epoch + 1: not within the curve
    gain: Array  # shape (m,), over the horizon after the last epoch
    weight: Array  # shape (m,), adds up to 1
    horizon_epochs: int
    delta: float

    @classmethod
    def of(cls, t: Array, y: Array, horizon_epochs: int, delta: float) -> _Posterior:
        """Fit every curve of both families to (t, y), up is better."""
        first, last = max(1, int(np.ceil(t[0]))), int(np.floor(t[-1]))
        whole = np.arange(first, last + 1, dtype=float)
        fits = fit_learning_curves(t, y, resolution=delta)
        drop = fits.left(whole) - fits.left(whole + horizon_epochs)  # falls along each row
        gain = fits.rise * drop[:, -1:]
        # The first epoch at which rise * drop < delta; a curve that does not rise has none left.
        epoch = np.array(
            [
                np.searchsorted(-row, -delta / np.where(rises > 0, rises, 1e-300), side="right")
                for row, rises in zip(drop, fits.rise, strict=True)
            ]
        )
        return cls(
            last_epoch=last,
            epoch=(first + np.where(fits.rise > 0, epoch, 0)).ravel(),
            gain=gain.ravel(),
            weight=np.repeat(fits.weight / fits.rise.shape[1], fits.rise.shape[1]),
            horizon_epochs=horizon_epochs,
            delta=delta,
        )

    def median_epoch(self) -> int:
        """The epoch below which half of the weight lies."""
        return int(_quantile(self.epoch.astype(float), self.weight, 0.5))

    def gain_at(self, level: float) -> float:
        """The gain below which `level` of the weight lies."""
        return _quantile(self.gain, self.weight, level)


def _judged(posterior: _Posterior, *, n: int) -> Plateau:
    """The verdict from the weighted curves."""
    delta, horizon = posterior.delta, posterior.horizon_epochs
    reached = float(posterior.weight[posterior.epoch <= posterior.last_epoch].sum())
    rising = float(posterior.weight[posterior.gain >= 2 * delta].sum())
    gain = Estimate.of(
        posterior.gain_at(0.5),
        interval=(posterior.gain_at(0.025), posterior.gain_at(0.975)),
        n=n,
    )
    epoch = None
    expected = Reason.of(
        "epochs_to_bring",
        horizon=horizon,
        gain=gain.estimate,
        low=gain.low,
        high=gain.high,
        delta=delta,
    )
    verdict: PlateauVerdict
    if reached >= REACHED_PROBABILITY and rising < STILL_RISING_PROBABILITY:
        verdict, epoch = "reached", posterior.median_epoch()
        reason = Reason.of("plateau_reached", epoch=epoch, expected=expected)
    elif reached <= NOT_YET_PROBABILITY:
        verdict = "not_yet"
        reason = Reason.of("plateau_not_yet", expected=expected)
    else:
        verdict = "cannot_tell"
        reason = Reason.of("plateau_open", expected=expected)
    return Plateau(
        verdict=verdict,
        epoch=epoch,
        expected_improvement=gain,
        turned=False,
        worsens=posterior.gain_at(0.5) < -delta,
        horizon_epochs=horizon,
        reason=reason,
    )


def _quantile(values: Array, weight: Array, level: float) -> float:
    order = np.argsort(values, kind="stable")
    place = np.searchsorted(np.cumsum(weight[order]), level * (1 - 1e-12))
    return float(values[order][min(int(place), len(values) - 1)])
