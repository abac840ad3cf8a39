from __future__ import annotations

import pytest
from tests.reference.raced_study import OWN, STEP_S, named, raced

from batchlab.advice.race import race_gain


def caveat(advice):
    return next((each for each in advice.caveats if each.code == "below_the_soonest"), None)


def soonest_of(advice):
    """The rate that was soonest to the level among the runs of what is named."""
    tried = [
        run
        for run in advice.tried
        if run.batch_size == advice.provisional.batch_size and run.steps_to_target is not None
    ]
    return min(tried, key=lambda run: run.steps_to_target).learning_rate


def test_far_from_the_end_half_of_the_rate_that_was_soonest_is_named():
    advice, _ = raced(trainings=0.3)

    size, rate = named(advice)
    told = caveat(advice)
    assert told is not None
    assert rate == pytest.approx(soonest_of(advice) / 2)
    assert dict(told.values) == {"size": size, "rate": rate, "soonest": soonest_of(advice)}


def test_where_the_pilot_came_further_the_soonest_is_named():
    advice, _ = raced(trainings=0.9)

    assert advice.target_origin == "easier"
    assert advice.recommendation is None
    assert named(advice)[0] > OWN[0]
    assert named(advice)[1] == soonest_of(advice)
    assert caveat(advice) is None


def test_where_no_end_is_planned_a_level_that_was_cut_counts_as_early():
    advice, _ = raced(trainings=0.9, asked={"longest_epochs": None})

    assert advice.target_origin == "easier"
    assert caveat(advice) is not None


def test_the_gain_is_that_of_the_single_runs_with_the_interval_of_the_record():
    advice, _ = raced(trainings=4.0)

    size, rate = named(advice)
    steps = {
        (run.batch_size, run.learning_rate): run.steps_to_target
        for run in advice.tried
        if run.purpose in ("pilot", "tune") and run.steps_to_target is not None
    }
    seen = steps[OWN] * STEP_S(64) / (steps[size, rate] * STEP_S(size))
    assert (advice.target_origin, caveat(advice)) == ("pilot", None)
    assert advice.gain.estimate == pytest.approx(seen, rel=1e-6)
    assert advice.gain == race_gain(advice.gain.estimate, end_was_seen=True)


@pytest.mark.slow
@pytest.mark.parametrize("trainings", [1.5, 3.0, 5.0])
def test_the_true_gain_lies_within(trainings):
    held = []
    for salt in range(12):
        advice, engine = raced(trainings=trainings, salt=salt)
        size, rate = named(advice)
        own, other = (
            engine.truth.steps_to(advice.target.value, *cell) * STEP_S(cell[0])
            for cell in (OWN, (size, rate))
        )
        low = advice.gain.low or 0.0  # where the pilot was cut there is none
        held.append(low <= own / other <= advice.gain.high)

    assert sum(held) >= 11
