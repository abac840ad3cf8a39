"""How many epochs each batch size takes to the target: by the answer, else by single runs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.reference.made_up_advice import (
    N_TRAIN,
    advice_study,
    cannot_tell_advice,
    law,
    made_up_advice,
    tuned_rate,
)

from batchlab.advice.advice import Advice, RateTried
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_effects import EpochsToTarget, epochs_to_target

SIZES = (64, 256, 1024)
UNKNOWN = Estimate.cannot_tell(Reason.as_written("one run"))


def told(advice: Advice) -> dict[int, EpochsToTarget]:
    return {each.batch_size: each for each in epochs_to_target(advice, advice_study(advice))}


def run(
    size: int,
    *,
    rate: float = 0.1,
    steps: int,
    met: float | None = None,
    seed: int = 0,
    status: str = "ok",
    best: float | None = None,
) -> RateTried:
    return RateTried(
        batch_size=size,
        learning_rate=rate,
        seed=seed,
        purpose="tune",
        status=status,
        steps=steps,
        steps_to_target=met,
        best_value=best,
    )


def of_single_runs(*runs: RateTried, code: str = "runs_leave_open") -> Advice:
    """An answer that has no estimate of any batch size, and only these runs."""
    advice = cannot_tell_advice()
    candidates = tuple(
        replace(c, learning_rate=None, steps_to_target=UNKNOWN) for c in advice.candidates
    )
    return replace(
        advice,
        reason=Reason.of(code),
        reference_tuned=None,
        candidates=candidates,
        tried=runs,
    )


def test_epochs_are_the_estimated_steps_over_those_of_an_epoch():
    found = told(made_up_advice(sizes=SIZES))

    for size in (64, 256):
        per_epoch = N_TRAIN / size
        assert found[size].enough == pytest.approx(law(size) / per_epoch)
        assert found[size].learning_rate == tuned_rate(size)
        assert found[size].is_estimated


@pytest.mark.slow
def test_what_is_recommended_takes_as_long_as_it_was_verified_to():
    advice = made_up_advice(sizes=SIZES)
    verified = Estimate.of(7.5, interval=(7.0, 8.0), n=4)
    advice = replace(advice, expected=replace(advice.expected, epochs_to_target=verified))

    (named,) = [each for each in told(advice).values() if each.estimate == verified]

    assert named.batch_size == advice.recommendation.batch_size


def test_the_runs_beside_an_estimate_are_those_on_fresh_seeds_at_its_rate():
    found = told(made_up_advice(sizes=SIZES))[256]

    assert len(found.met) == 3
    assert found.missed == ()


def test_without_an_estimate_the_mean_of_single_runs_stands_in_and_has_no_interval():
    found = told(of_single_runs(run(256, steps=32, met=30.0), run(256, steps=64, met=50, seed=1)))

    assert found[256].estimate == Estimate.of(40 / 16, interval=(None, None), n=2)
    assert found[256].met == (30 / 16, 50 / 16)
    assert not found[256].is_estimated


def test_of_several_rates_that_counts_which_got_there_on_most_seeds_and_soonest():
    found = told(
        of_single_runs(
            run(256, rate=0.1, steps=20, met=18.0),
            run(256, rate=0.1, steps=320, seed=1),
            run(256, rate=0.2, steps=50, met=48.0),
            run(256, rate=0.4, steps=40, met=36.0),
        )
    )

    assert (found[256].learning_rate, found[256].enough) == (0.4, 36 / 16)


def test_the_rate_that_is_named_counts_even_where_another_was_sooner():
    named = of_single_runs(run(64, rate=0.2, steps=90, met=64.0), run(64, steps=200, met=128.0))
    named = replace(named, provisional=replace(named.reference, learning_rate=0.1))

    assert told(named)[64].enough == 128 / 64


def test_how_many_epochs_are_enough_is_open_where_a_single_run_missed_the_target():
    found = told(of_single_runs(run(256, steps=320, met=160.0), run(256, steps=320, seed=1)))[256]

    assert found.enough is None
    assert (found.met, found.missed) == ((10.0,), (20.0,))


def test_where_none_met_it_the_longest_run_is_a_bound_and_of_several_the_best():
    found = told(
        of_single_runs(
            run(1024, rate=0.1, steps=8, best=0.9),
            run(1024, rate=0.2, steps=40, best=0.6),
            run(1024, rate=0.4, steps=40, best=0.8),
        )
    )[1024]

    assert (found.estimate, found.missed, found.learning_rate) == (None, (10.0,), 0.4)


def test_of_a_loss_the_best_is_the_lowest():
    runs = (run(1024, rate=0.1, steps=8, best=0.2), run(1024, rate=0.2, steps=8, best=0.4))

    assert told(replace(of_single_runs(*runs), better="lower"))[1024].learning_rate == 0.1
    assert told(replace(of_single_runs(*runs), better="higher"))[1024].learning_rate == 0.2


@pytest.mark.parametrize("status", ["diverged", "nan", "oom", "error", "killed"])
def test_a_run_that_failed_is_no_bound(status):
    assert told(of_single_runs(run(1024, steps=400, status=status))) == {}


def test_a_run_that_the_budget_cut_is_one():
    found = told(of_single_runs(run(1024, steps=4, status="timeout")))

    assert found[1024].missed == (1.0,)


def test_after_a_race_estimates_do_not_count_though_a_rate_is_named():
    advice = of_single_runs(run(64, rate=0.2, steps=90, met=64.0), code="single_runs")
    tuned = tuple(
        replace(c, learning_rate=0.2, steps_to_target=Estimate.of(640, interval=(1, 1e3), n=1))
        if c.batch_size == 64
        else c
        for c in advice.candidates
    )

    assert told(replace(advice, candidates=tuned))[64].enough == 1.0


def test_without_a_target_there_are_none():
    assert told(made_up_advice(sizes=SIZES, objective="quality")) == {}


def test_all_numbers_are_finite():
    for each in told(cannot_tell_advice()).values():
        assert all(map(math.isfinite, (*each.met, *each.missed)))
