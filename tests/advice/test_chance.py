"""The chance: what is named is neither slower than the reference nor ends worse."""

from dataclasses import replace

import pytest
from tests.reference.made_up_advice import ending_at, ends_beside, made_up_advice

from batchlab.advice.advice import RateTried
from batchlab.advice.chance import LIKELY, NO_END_SEEN, NOT_SHOWN, SURE, Seen, chance_of
from batchlab.records.estimate import Estimate, Reason

PILOT = RateTried(
    batch_size=64,
    learning_rate=0.01,
    seed=0,
    purpose="pilot",
    status="ok",
    steps=100,
    steps_to_target=90,
)


def advice_of(better_by: float | None, **changes):
    """An advice that names 256, which ends so many margins better; None: not seen."""
    found = made_up_advice()
    named = replace(found.recommendation, batch_size=256)
    endings = None
    if better_by is not None:
        margin = 0.0011
        mine = ending_at(256, named.learning_rate, 0.978 + better_by * margin)
        yours = ending_at(64, 0.01, 0.978)
        endings = ends_beside(yours, mine, better_by=0.0, half=0.001, verdict="open")
    given = {"recommendation": named, "endings": endings, "tried": (PILOT,)} | changes
    return replace(found, **given)


@pytest.mark.parametrize(
    ("better_by", "code", "how"),
    [
        (4.0, "no_worse_on_the_record", "sure"),
        (0.3, "no_worse_on_the_record", "likely"),
        (-0.9, "first_guess", None),
    ],
)
def test_a_chance_is_told_in_words(better_by, code, how):
    chance, why = chance_of(advice_of(better_by))

    assert (why.code, why.named.get("how"), why.named["chance"]) == (code, how, chance)
    assert (chance >= SURE, chance >= LIKELY) == (how == "sure", how is not None)


def test_it_rises_with_the_end_and_with_seeds_and_falls_with_their_scatter():
    worse = [Seen(n=3, worse=worse).chance for worse in (-3.0, -1.0, 0.0, 0.5, 2.0)]
    seeds = [Seen(n=n, worse=-1.0).chance for n in (0, 1, 3, 9)]
    scatter = [Seen(n=3, worse=0.0, scatter=scatter).chance for scatter in (0.1, 0.5, 1.0, 3.0)]

    assert worse == sorted(worse, reverse=True)
    assert seeds == sorted(seeds)
    assert scatter == sorted(scatter, reverse=True)


def test_where_no_end_was_seen_it_is_that_of_such_answers_and_low_where_only_yours_was():
    on_the_way, _ = chance_of(advice_of(None, target_origin="easier"))
    not_followed, _ = chance_of(advice_of(None))

    assert on_the_way == NO_END_SEEN
    assert not_followed < LIKELY


def test_a_gain_that_may_be_one_seeds_is_a_first_guess_where_no_end_was_seen():
    small = Estimate.of(1.4, interval=(None, 3.0), n=1)

    chance, why = chance_of(advice_of(None, target_origin="easier", gain=small))

    assert (chance, why.code) == (NOT_SHOWN, "first_guess")


def test_it_falls_beside_a_rate_that_diverged():
    edge = Reason.of("at_the_edge", size=256, rate=0.1, above=0.2, held=2, n=2, share=0.5)

    chance, _ = chance_of(advice_of(4.0, caveats=(edge,)))

    assert chance == pytest.approx(chance_of(advice_of(4.0))[0] * 7 / 8)


def test_of_your_own_configuration_and_of_the_fewest_samples_there_is_none():
    own = made_up_advice().reference

    assert chance_of(advice_of(4.0, recommendation=own)) is None
    assert chance_of(advice_of(4.0, objective="samples")) is None


def test_where_a_target_was_given_a_verified_gain_tells():
    faster = Estimate.of(2.0, interval=(1.2, 3.0), n=3)
    perhaps = Estimate.of(2.0, interval=(0.9, 3.0), n=3)

    assert chance_of(advice_of(None, tried=(), gain=faster)) == (0.975, None)
    assert chance_of(advice_of(None, tried=(), gain=perhaps)) is None


@pytest.mark.parametrize(("low", "chance"), [(1.07, 0.975), (0.9, None)])
def test_for_objective_quality_a_verified_gain_tells_though_a_pilot_ran(low, chance):
    """No end is compared beside it, so the record's figures for ends are not meant."""
    gain = Estimate.of(1.1, interval=(low, 1.2), n=3)

    found = chance_of(advice_of(None, objective="quality", gain=gain))

    assert (None if found is None else found[0]) == chance
