"""The outlook: closed forms of its chances, and the exact value of a run by brute force."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from tests.reference.joint_belief import value_of_seeing

from batchlab.belief.outlook import N_DRAWS, Aim, Outlook, Run
from batchlab.belief.surface import Surface

N_MANY = 20_000
FIRST, SECOND = 0, 1
RUN = Run(at=FIRST, n_seeds=1, shows_cost=True)
FIVE_OF_BOTH = math.sqrt(2 / 5)  # the difference of means of five seeds each, in single seeds


def lowest(mean, covariance):
    return int(np.argmin(mean))


def surface_of(cost, end=None, *, cost_sd=0.0, end_sd=0.0):
    """Independent beliefs; `end` and `end_sd` are on the scale of the surface."""
    n = len(cost)
    sds = [np.broadcast_to(cost_sd, n), np.broadcast_to(end_sd, n)]
    mean = np.concatenate([cost, np.zeros(n) if end is None else end])
    return Surface(mean=mean, covariance=np.diag(np.concatenate(sds) ** 2))


def outlook_of(*surfaces, cost_sd=0.0, end_sd=0.0, n_draws=N_MANY, failed=(), holds=1.0, **changes):
    """Every configuration scatters alike; several `end_sd` are equally likely.

    Far more draws than usual are made, so that closed forms are checked closely.
    """
    n = len(surfaces[0].mean) // 2
    usual = {"own": FIRST, "same_size": [FIRST], "is_tuned": False, "ends_count": True}
    usual |= {"costs_count": True, "most_cost": np.full(n, np.inf), "level": 1.0}
    aim = Aim(**(usual | {"step_error": np.zeros(n)} | changes))
    sds = {"cost_sd": cost_sd}
    sds["end_sd"] = np.broadcast_to(np.reshape(end_sd, (-1, 1)), (len(surfaces), n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchlab.belief.outlook.N_DRAWS", n_draws)
        return Outlook(surfaces, aim, **sds, failed=failed, holds=np.broadcast_to(holds, n))


@pytest.mark.parametrize(
    ("cost", "cost_sd", "cost_scatter"),
    [((0, 0.3), (0.4, 0.2), 0.0), ((0, -0.5), (0.1, 0.6), 0.5), ((7, 6.9), (0.0, 0.0), 0.4)],
)
@pytest.mark.parametrize(
    ("end", "end_sd", "end_scatter"),
    [((0, 0.2), 0.0, 2.0), ((-0.5, 1.0), 0.0, 0.7), ((0.3, 0.5), (0.0, 0.8), 0.0)],
)
def test_the_chance_is_the_closed_form(cost, cost_sd, cost_scatter, end, end_sd, end_scatter):
    surface = surface_of(cost, end, cost_sd=cost_sd, end_sd=end_sd)
    sds, holds = {"cost_sd": cost_scatter, "end_sd": end_scatter}, 0.9
    sd = math.hypot(*cost_sd, FIVE_OF_BOTH * cost_scatter)
    no_slower = norm.cdf((cost[FIRST] - cost[SECOND]) / sd)
    most = math.sinh(end[FIRST]) + 1  # a margin worse still counts as no worse
    if end_scatter:
        no_worse = norm.cdf((most - math.sinh(end[SECOND])) / (FIVE_OF_BOTH * end_scatter))
    else:
        no_worse = norm.cdf((math.asinh(most) - end[SECOND]) / end_sd[SECOND])

    def chance(**changes):
        outlook = outlook_of(surface, **sds, holds=[1.0, holds], **changes)
        assert outlook.chance[FIRST] == 1.0
        return outlook.chance[SECOND]

    # Four standard errors of a share of 20,000 draws, where it is largest.
    within = 4 * 0.5 / math.sqrt(N_MANY)
    assert chance() == pytest.approx(holds * no_slower * no_worse, abs=within)
    assert chance(ends_count=False) == pytest.approx(holds * no_slower, abs=within)
    assert chance(costs_count=False) == pytest.approx(holds * no_worse, abs=within)


# Own configuration, same batch size at its best rate, then: as good, worse than that rate, worse
# than both, misses the level, failed. Everything is known but for a thousandth.
KNOWN = surface_of([3, 2, 2.5, 2.5, 2.5, 1.5, 1.0], np.arcsinh([3, 0, 0.5, 3.5, 5, 4.5, 0]))
ASKED = {"same_size": [0, 1], "failed": [6]}


@pytest.mark.parametrize(
    ("changes", "utility"),
    [
        ({}, [-3.5, -2, -2.5, -3, -7, -6, -1000]),
        ({"is_tuned": True}, [-7.5, -2, -2.5, -7, -7, -6, -1000]),
        ({"ends_count": False}, [-3, -2, -2.5, -2.5, -2.5, -1.5, -1000]),
        ({"costs_count": False}, [-3, 0, -0.5, -3.5, -5, -4.5, -1000]),
        # A level between the two last ends: what misses it costs a whole training.
        ({"most_cost": np.full(7, 9.0), "level": 4.7}, [-3.5, -2, -2.5, -3, -13.5, -6, -1000]),
        ({"most_cost": np.full(7, 9.0), "level": 4}, [-3.5, -2, -2.5, -3, -13.5, -13.5, -1000]),
    ],
)
def test_what_ends_worse_or_misses_loses_octaves(changes, utility):
    """4 worse than what it is compared with, 0.5 worse than the tuned rate."""
    outlook = outlook_of(KNOWN, end_sd=1e-3, **ASKED, **changes)

    assert outlook.utility == pytest.approx(utility, abs=0.01)


def test_a_training_that_costs_exactly_as_much_is_no_slower():
    surface = surface_of([0, 0, 0], np.arcsinh([0, -3, -3]))
    outlook = outlook_of(surface, end_sd=0.1, same_size=[0, 1], known_cost=np.array([2, 2, 2.1]))

    assert outlook.chance == pytest.approx([1, 1, 0])
    assert outlook.best([1, 2], 0.8) == 1
    assert not outlook.gain_draws(1).any()


def test_trainings_that_miss_the_level_go_to_their_end():
    """Beside five trainings of each, drawn one by one."""
    costs, ends, most, level, scatter = (2.0, 1.0), (-0.5, 0.6), (5.0, 4.5), 0.8, 0.7
    outlook = outlook_of(
        surface_of(costs, np.arcsinh(ends)),
        cost_sd=0.3,
        end_sd=scatter,
        most_cost=np.array(most),
        level=level,
    )
    stream, means = np.random.default_rng(0), []
    for cost, end, whole in zip(costs, ends, most, strict=True):
        drawn = end + scatter * stream.standard_normal((N_MANY, 5))
        missed = drawn > level + 0.5 * scatter
        steps = cost + 0.3 * math.sqrt(1 / 5) * stream.standard_normal((N_MANY, 1))
        means.append(np.log2(np.where(missed, 2**whole, 2**steps).mean(axis=1)))
    gains = means[FIRST] - means[SECOND]

    misses = norm.cdf((np.array(ends) - level) / scatter - 0.5)
    # The belief keeps a deviation of a thousandth.
    assert outlook.misses.mean(axis=0) == pytest.approx(misses, abs=1e-4)
    mean_cost = np.log2((1 - misses) * np.exp2(costs) + misses * np.exp2(most))
    assert outlook.mean_cost.mean(axis=0) == pytest.approx(mean_cost, abs=1e-3)
    for quantile in (0.025, 0.25, 0.5, 0.75, 0.975):
        told = np.quantile(outlook.gain_draws(SECOND), quantile)
        assert told == pytest.approx(np.quantile(gains, quantile), abs=0.12)
    # The chance takes the mean cost of five as normal.
    assert outlook.slower[:, SECOND].mean() == pytest.approx(np.mean(gains < 0), abs=0.05)


def test_a_scatter_that_is_not_known_is_neither_one_nor_the_other():
    """Each draw has one of the scatters, and the surface that follows from it."""
    narrow, wide = (surface_of([0, 0], [0.0, 0.4], end_sd=(0.0, sd)) for sd in (0.1, 0.9))
    cases = ([narrow], 0.2), ([wide], 2), ([narrow, wide], [0.2, 2])
    one, other, both = (
        outlook_of(*surfaces, end_sd=sds).worse[:, SECOND].mean() for surfaces, sds in cases
    )

    assert one < 0.1 < 0.25 < other
    assert both == pytest.approx((one + other) / 2, abs=0.01)


def test_a_tuned_reference_is_the_best_rate_of_its_batch_size():
    """Of two different ends the better is the one to meet."""
    better = outlook_of(surface_of([3, 2, 2.5], np.arcsinh([0, 3, 1.5])), same_size=[0, 1])
    own, tuned = (outlook_of(KNOWN, **ASKED, is_tuned=is_tuned) for is_tuned in (False, True))

    assert better.utility == pytest.approx([-3, -2 - 4.5, -2.5 - 4.5], abs=0.01)
    assert own.chance == pytest.approx([1, 1, 1, 1, 0, 0, 1])
    assert tuned.chance == pytest.approx([0, 1, 0, 0, 0, 0, 1])
    assert own.gain_draws(2).mean() == pytest.approx(0.5, abs=0.01)
    assert tuned.gain_draws(2).mean() == pytest.approx(-0.5, abs=0.01)


def test_no_unlikely_configuration_is_the_best_and_no_run_lowers_the_best_utility():
    """The user's own need not be likely."""
    for seed in range(60):
        stream = np.random.default_rng(seed)
        root = stream.standard_normal((12, 12)) / 2
        surface = Surface(mean=stream.standard_normal(12), covariance=root @ root.T)
        changes = {"cost_sd": 0.2, "end_sd": 0.7, "holds": stream.uniform(0.4, 1.0, 6)}
        outlook = outlook_of(surface, n_draws=N_DRAWS, same_size=[0, 1], **changes)
        nameable = [0, *np.flatnonzero(stream.random(6) < 0.6)]
        least = float(stream.choice([0.3, 0.6, 0.9]))

        best = outlook.best(nameable, least)

        likely = [i for i in nameable if outlook.chance[i] >= least or i == 0]
        assert best in likely
        assert outlook.utility[best] == max(outlook.utility[likely])
        assert outlook.best([], 0.0) == 0
        for shows_cost in (False, True):
            run = Run(at=seed % 6, n_seeds=3, shows_cost=shows_cost)
            assert outlook.gains(run, [0, 2, 3], 0, 0.8)[1] >= -1e-6


def cost_gains(surface, *, n_seeds=1, cost_sd=0.22, least=0.0, nameable=(0, 1), n_draws=N_MANY):
    """Gains where only costs count, and a run shows one."""
    outlook = outlook_of(surface, cost_sd=cost_sd, end_sd=0.7, ends_count=False, n_draws=n_draws)
    run = RUN._replace(at=SECOND, n_seeds=n_seeds)
    return outlook.gains(run, nameable, outlook.best(nameable, least), least)


def test_what_is_known_already_gains_nothing():
    """Draws of others do not correlate with it by chance, so it tells nothing of them."""
    for n in (2, 6, 11):
        surface = surface_of(np.zeros(n), cost_sd=[0.0, *np.ones(n - 1)])
        outlook = outlook_of(surface, cost_sd=0.2, ends_count=False, end_sd=0.7, n_draws=N_DRAWS)

        assert outlook.gains(RUN, range(n), FIRST, 0.8) == (0.0, 0.0)
        assert outlook.gains(RUN._replace(shows_cost=False), range(n), FIRST, 0.8) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("mean", "sds", "correlation", "n_seeds"),
    [
        ((0, 0), (0.5, 0.6), 0.0, 1),
        ((0, 0.5), (0.5, 1.2), 0.7, 1),
        ((0, -0.5), (0.1, 0.6), 0.0, 4),
        ((5, 6), (0.5, 1.2), 0.0, 1),
    ],
)
def test_a_run_is_worth_its_exact_value(mean, sds, correlation, n_seeds):
    surface = surface_of(mean, cost_sd=sds)
    covariance, sd = surface.covariance[:2, :2], 0.5 / math.sqrt(n_seeds)
    covariance[0, 1] = covariance[1, 0] = correlation * sds[0] * sds[1]
    exact, per_draw = value_of_seeing(surface.mean[:2], covariance, SECOND, sd, N_MANY, lowest)

    many = cost_gains(surface, n_seeds=n_seeds, cost_sd=0.5)[1]
    usual = cost_gains(surface, n_seeds=n_seeds, cost_sd=0.5, n_draws=N_DRAWS)[1]

    # The utility is linear in the cost, so only draws separate the two. Slopes are shrunk by
    # 4 / n_draws, and both sides have the standard error of their draws.
    assert many == pytest.approx(exact, abs=3 * per_draw * math.sqrt(2 / N_MANY))
    assert usual == pytest.approx(exact, abs=3 * per_draw / math.sqrt(N_DRAWS))


def test_a_run_that_shows_an_end_is_worth_its_exact_value():
    """Small margins are nearly linear on the surface's scale: to 2 % at a deviation of 0.3."""
    surface = surface_of([0, 0], [0.0, 0.1], end_sd=(0.3, 0.3))
    outlook = outlook_of(surface, cost_sd=0.2, end_sd=0.2, costs_count=False, end_error=0.2)
    run = Run(at=SECOND, n_seeds=1, shows_cost=False)
    sd = math.hypot(math.asinh(0.2), 0.2)
    mean, covariance = surface.mean[2:], surface.covariance[2:, 2:]
    exact, _ = value_of_seeing(mean, covariance, SECOND, sd, N_MANY, lowest)

    assert outlook.gains(run, [FIRST, SECOND], FIRST, 0.0)[1] == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize(("faster", "sd"), [(0.5, 0.6), (0.1, 0.6), (0.2, 0.3), (0.9, 1.2)])
def test_making_a_fast_configuration_likely_is_worth_a_run(faster, sd):
    """The second is faster by what is expected, and too unlikely to be named."""
    surface, scatter, least = surface_of([4.0, 4.0 - faster], cost_sd=(0.3, sd)), 0.22, 0.8
    sds = norm.ppf(least)

    def likely(expected, covariance):
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1] + 2 / 5 * scatter**2
        is_likely = expected[FIRST] - expected[SECOND] >= sds * math.sqrt(variance)
        return SECOND if is_likely else FIRST

    mean, covariance = surface.mean[:2], surface.covariance[:2, :2]
    exact, _ = value_of_seeing(mean, covariance, SECOND, scatter, N_MANY, likely)

    named, best = cost_gains(surface, least=least)
    assert named == pytest.approx(exact, rel=0.05)
    assert cost_gains(surface, least=least, nameable=[FIRST])[0] == named  # so far nobody ran it
    assert cost_gains(surface, least=0.0)[1] == best
    assert cost_gains(surface, least=1.0)[0] == 0.0  # nothing can become certain


def test_gain_draws_have_the_closed_median_and_spread():
    surface = surface_of([5.0, 4.2], cost_sd=(0.3, 0.4))
    outlook = outlook_of(surface, cost_sd=0.6, step_error=np.array([0.0, 0.25]))

    draws = outlook.gain_draws(SECOND)

    sd = math.hypot(0.3, 0.4, FIVE_OF_BOTH * 0.6, 0.25)
    # The median of n normal draws has standard error 1.25 sd / √n, their deviation sd / √(2 n).
    assert np.median(draws) == pytest.approx(0.8, abs=4 * 1.25 * sd / math.sqrt(N_MANY))
    assert draws.std() == pytest.approx(sd, abs=4 * sd / math.sqrt(2 * N_MANY))
    assert (outlook.gain_draws(FIRST) == 0).all()
    # Of the same trainings: the share of draws has a standard error, the chance a smaller one.
    within = 4 * 0.5 / math.sqrt(N_MANY)
    assert outlook.chance[SECOND] == pytest.approx(np.mean(draws >= 0), abs=within)
