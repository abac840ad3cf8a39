"""The scaled step: batch size and rate raised together, where yours would stay."""

import pytest
from tests.advice.test_race import OWN, ends_lower, raced
from tests.reference.simulated_engine import SimulatedEngine

from batchlab.advice.chance import LIKELY, SCALED, Seen
from batchlab.advice.scaled_step import SCALED_STEPS


def scaled_sizes(advice):
    """The batch sizes that were trained for it, in their order."""
    return [step.did.named["size"] for step in advice.steps if step.did.code == "trained_scaled"]


def why(advice):
    return next((each for each in advice.caveats if each.code in SCALED_STEPS), None)


def test_the_largest_that_is_likely_to_be_no_worse_is_named():
    advice, _ = raced(trainings=5.0, end=ends_lower(3.0, above=256))

    assert scaled_sizes(advice) == [512, 256]
    assert (advice.named.batch_size, advice.named.learning_rate) == (256, 4 * OWN[1])
    assert advice.verdict == "cannot_tell"
    assert why(advice).named == {"chance": advice.chance, "n": 1}
    assert advice.chance >= LIKELY
    assert advice.endings.recommended.cell == (256, 4 * OWN[1])
    assert advice.gain.low < advice.gain.estimate


def test_where_all_of_them_end_worse_yours_stays():
    advice, _ = raced(trainings=5.0, end=ends_lower(3.0, above=64))

    assert scaled_sizes(advice) == [512, 256, 128]
    assert (advice.named, why(advice), advice.chance) == (advice.reference, None, None)


def test_what_ends_as_well_but_takes_longer_is_not_named():
    """A rate so far above the best that the level is met late."""
    advice, _ = raced(trainings=5.0, best_rate=0.002, right=1.0, step_s=lambda size: 1e-3)

    assert why(advice) is None or advice.gain.estimate > 1


def test_where_something_found_is_likely_to_be_no_worse_none_is_tried():
    advice, _ = raced(trainings=4.0, end=ends_lower(-3.0, above=64))

    assert advice.named != advice.reference
    assert (scaled_sizes(advice), why(advice)) == ([], None)


def test_it_runs_on_some_of_the_seeds_that_yours_was_verified_on():
    advice, _ = raced(trainings=30.0, end_noise=0.0015, end=ends_lower(3.0, above=256))

    verified = {"mine": set(), "yours": set()}
    for run in advice.tried:
        who = {(256, 4 * OWN[1]): "mine", OWN: "yours"}.get((run.batch_size, run.learning_rate))
        if who and run.purpose == "verify":
            verified[who].add(run.seed)
    assert scaled_sizes(advice) == [256]
    assert 1 < len(verified["mine"]) <= 6 < len(verified["yours"])
    assert verified["mine"] < verified["yours"]


class OneRate(SimulatedEngine):
    """A script whose rate stays as it is."""

    def learning_rates(self, batch_size):
        return (OWN[1],)


@pytest.mark.parametrize(("trainings", "margins"), [(1.5, 3.0), (3.0, 0.0)])
def test_where_the_rate_cannot_be_raised_there_is_none(trainings, margins):
    advice, _ = raced(trainings=trainings, kind=OneRate, end=ends_lower(margins, above=64))

    assert (scaled_sizes(advice), why(advice)) == ([], None)


@pytest.mark.parametrize("asked", [{"objective": "quality"}, {"objective": "samples"}])
def test_other_objectives_have_none(asked):
    advice, _ = raced(trainings=4.0, asked=asked)

    assert scaled_sizes(advice) == []


def test_its_chance_comes_from_what_such_steps_end_with_and_from_its_own_ends():
    unseen = {times: Seen(prior=prior).chance for times, prior in SCALED.items()}
    seen = [Seen(n=n, worse=1.5, scatter=0.3, prior=SCALED[2]).chance for n in (0, 1, 3)]

    assert unseen[8] < unseen[4] < unseen[2]
    assert unseen[2] >= LIKELY
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.5
    # Where ends scatter by several margins nothing within one can be told.
    assert Seen(n=3, worse=-1.0, scatter=5.0, prior=SCALED[2]).chance < LIKELY
