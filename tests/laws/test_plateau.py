"""The plateau rule against curves whose noiseless truth is known."""

import numpy as np
import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up import made_up_curves, made_up_record

from batchlab.laws.plateau import (
    FRACTION_DELTA,
    HORIZON_EPOCHS,
    default_delta,
    find_plateau,
    plateau_of,
)
from batchlab.records.trial import Status

H, DELTA = HORIZON_EPOCHS, FRACTION_DELTA


def first_flat_epoch(curve, n_epochs):
    """The first epoch k in 1..n_epochs with curve(k + h) - curve(k) < delta, None without one."""
    return next((k for k in range(1, n_epochs + 1) if curve(k + H) - curve(float(k)) < DELTA), None)


def judged(values, better="higher", delta=DELTA):
    return find_plateau(np.arange(1.0, len(values) + 1), values, better=better, delta=delta)


LENGTHS = (15, 20, 30, 50, 80, 120)
N_CURVES = 200


def random_law(family, rng):
    """A noiseless rise: a level, a height and a rate drawn over what training runs show."""
    level, height = rng.uniform(0.9, 0.99), rng.uniform(0.05, 0.8)
    if family == "exponential":
        rate = np.exp(rng.uniform(np.log(0.02), np.log(1.0)))
        return lambda epoch: level - height * np.exp(-rate * epoch)
    power = rng.uniform(0.3, 2.0)
    return lambda epoch: level - height * epoch**-power


def random_curves(family, *, plateaus, noise, seed):
    """N_CURVES of (verdict, plateau epoch), with a plateau or still rising by 2 delta."""
    rng = np.random.default_rng(seed)
    found = 0
    while found < N_CURVES:
        law, epochs = random_law(family, rng), np.arange(1.0, rng.choice(LENGTHS) + 1)
        truth = first_flat_epoch(law, len(epochs))
        still_rising = law(epochs[-1] + H) - law(epochs[-1]) >= 2 * DELTA
        if (truth is not None) if plateaus else still_rising:
            found += 1
            yield judged(law(epochs) + rng.normal(0.0, noise, len(epochs))), truth


FAMILIES = by_day(["exponential", "power law"], ["exponential"])


@pytest.mark.slow
@pytest.mark.parametrize("noise", [DELTA / 8, DELTA / 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_plateau_is_right_within_two_epochs_on_95_of_100_curves(family, noise):
    right = sum(
        plateau.verdict == "reached" and abs(plateau.epoch - truth) <= 2
        for plateau, truth in random_curves(family, plateaus=True, noise=noise, seed=1)
    )

    assert right >= 0.95 * N_CURVES


@pytest.mark.slow
@pytest.mark.parametrize("noise", [DELTA / 8, DELTA / 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_curve_still_rising_by_twice_delta_is_called_reached_at_most_twice(family, noise):
    curves = random_curves(family, plateaus=False, noise=noise, seed=2)

    verdicts = [plateau.verdict for plateau, _ in curves]

    assert verdicts.count("reached") <= 2
    assert verdicts.count("not_yet") >= 0.95 * N_CURVES


def rise(epochs, rate=0.3):
    return 0.9 - 0.5 * np.exp(-rate * epochs)


def test_a_falling_loss_is_judged_like_a_rising_accuracy_and_a_long_curve_too():
    epochs = np.arange(1.0, 41.0)

    assert judged(rise(epochs)).epoch == first_flat_epoch(rise, 40)
    assert judged(3 - rise(epochs), "lower").epoch == judged(rise(epochs)).epoch
    slow = lambda k: rise(k, rate=0.01)  # noqa: E731
    assert abs(judged(slow(np.arange(1.0, 3001.0))).epoch - first_flat_epoch(slow, 3000)) <= 10


def test_a_curve_that_has_turned_has_its_plateau_at_the_peak():
    epochs = np.arange(1.0, 41.0)
    law = 0.05 + rise(epochs) - 0.001 * epochs

    plateau = judged(law + np.random.default_rng(5).normal(0, 0.001, 40))

    assert (plateau.verdict, plateau.turned) == ("reached", True)
    assert abs(plateau.epoch - epochs[np.argmax(law)]) <= 3
    # One that was flat for long before it turned has it where it became flat.
    flat_first = judged(0.05 + rise(epochs, 0.8) - 0.003 * np.maximum(epochs - 30, 0))
    assert flat_first.turned
    assert 4 <= flat_first.epoch <= 9


@pytest.mark.slow
def test_flat_noise_has_not_turned_and_does_not_worsen():
    rng = np.random.default_rng(6)

    plateaus = [judged(rng.normal(0.9, DELTA / 2, 40)) for _ in range(60)]

    assert sum(plateau.turned for plateau in plateaus) <= 3
    assert sum(plateau.worsens for plateau in plateaus) <= 3


def test_eight_epochs_may_worsen_before_they_have_turned_for_sure_or_leave_it_open():
    noise = np.random.default_rng(7).normal(0, 0.01, 8)

    worse = judged([0.70, 0.75, 0.77, 0.77, 0.77, 0.768, 0.757, 0.753])
    left_open = judged(0.9 - 0.03 * np.arange(1.0, 9.0) ** -0.5 + noise)

    assert (worse.verdict, worse.turned, worse.worsens) == ("reached", False, True)
    assert left_open.verdict == "cannot_tell"
    assert left_open.reason.code == "plateau_open"


def test_delta_is_absolute_for_fractions_and_a_hundredth_of_the_level_of_a_loss():
    assert default_delta("accuracy", [0.1, 0.5, 0.9]) == FRACTION_DELTA
    assert default_delta("accuracy", [10.0, 50.0, 90.0]) == 100 * FRACTION_DELTA  # percent
    assert default_delta("loss", [9.0, 2.0, 2.0, 2.0, 2.0, 2.0]) == pytest.approx(0.02)
    assert default_delta("loss", [3.0, 0.0, 0.0, 0.0, 0.0, 0.0]) == pytest.approx(0.003)


def test_only_validation_scores_at_epoch_ends_count():
    curves = made_up_curves(validation=0.97, test=0.97)
    smooth = curves["validation", "accuracy"]
    within = curves | {
        ("validation", "accuracy"): lambda e: smooth(e) - (0.3 if e % 1 else 0.0),
        ("test", "accuracy"): lambda e: 0.2,
    }

    whole, parts = (
        plateau_of(
            made_up_record(curves=each, evaluations_per_epoch=n), metric="accuracy", better="higher"
        )
        for each, n in ((curves, 1), (within, 4))
    )

    assert parts == whole


FLAT = {("validation", "accuracy"): lambda epoch: 0.1 + 0.0001 * epoch}


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (made_up_record(curves=made_up_curves(has_validation=False)), "no_validation_at_epoch_end"),
        (made_up_record(curves=FLAT, epochs=20), "flat_as_untrained"),
        (made_up_record(curves=FLAT, epochs=5), "too_few"),
        (made_up_record(status=Status.DIVERGED), "no_level_after_bad_end"),
        (made_up_record(status=Status.NAN), "no_level_after_bad_end"),
    ],
)
def test_of_too_little_or_a_trial_that_diverged_it_cannot_tell_and_says_why(record, code):
    plateau = plateau_of(record, metric="accuracy", better="higher")

    assert (plateau.verdict, plateau.reason.code) == ("cannot_tell", code)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_loss_of_any_size_is_judged_alike_and_without_a_warning(scale):
    losses = 1 + 0.003 * np.random.default_rng(0).normal(size=30)  # some laws do not fall at all

    with np.errstate(all="raise", under="ignore"):
        found = judged(scale * losses, "lower", 0.01 * scale)

    assert found.epoch == judged(losses, "lower", 0.01).epoch == 1
