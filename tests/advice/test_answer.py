"""The answer: every figure follows from the state and the conclusion in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.reference.made_up_advice import ending_at, ends_beside
from tests.reference.made_up_outcome import (
    END,
    FASTER_AT_LAST,
    FASTER_THROUGHOUT,
    SIZES,
    SLOW_AT_LAST,
    STEP_S,
    STEPS,
    WHY,
    decision,
    quality_state,
    state_of,
    two_levels,
    verification,
)
from tests.reference.made_up_state import BUDGET_S, Run, cut, learning_rate, made_up_state, met
from tests.reference.simulated_engine import N_TRAIN
from tests.reference.simulated_question import REFERENCE, option

from batchlab.advice.answer import answered
from batchlab.advice.conclusion import Conclusion
from batchlab.advice.decision import costs_of
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.trial import Status, Target
from batchlab.words.reasons import reason_text


def open_decision(high):
    return decision(verdict="cannot_tell", batch_size=None, inside=(False, False), high=(9.0, high))


UNVERIFIED = verification(
    head_to_head=None,
    log_learning_cost=None,
    half_width=None,
    n=0,
    gain=Estimate.cannot_tell(WHY),
    gain_from_batch_size=Estimate.cannot_tell(WHY),
)


def answer(state, *, origin="given", **outcome):
    return answered(state, Conclusion(**outcome), origin=origin)


def recommended(state=None, **changes):
    """The answer where 128 is recommended, verified unless `changes` say otherwise."""
    found = {"decision": decision(), "verification": verification()} | changes
    return answer(state or state_of(), **found)


# ---- verdict


@pytest.mark.parametrize(
    ("better_by", "half", "named"),
    [
        (-0.0030, 0.0030, 64),
        (-0.0030, 0.0080, 64),  # the seeds scatter, but more speaks against it than for it
        (-0.0010, 0.0080, 128),  # within the margin, 0.0011
    ],
)
def test_the_best_so_far_is_what_ends_best_where_the_fastest_ends_worse_in_the_mean(
    better_by, half, named
):
    state = state_of()
    state.end = END
    yours = ending_at(64, 0.01, 0.978)
    mine = ending_at(128, learning_rate(128), 0.978 + better_by)
    ends = ends_beside(yours, mine, better_by=better_by, half=half, verdict="open")
    seen = verification(endings=replace(ends, reason=WHY))

    advice = recommended(state, verification=seen, origin="pilot")

    assert (advice.verdict, advice.reason) == ("cannot_tell", WHY)
    assert advice.provisional.batch_size == named


def test_the_best_so_far_was_seen_to_end():
    """What looks fastest was not trained to its end; the reference was."""
    state = state_of()
    state.end = END
    mine = ending_at(128, learning_rate(128), 0.978)
    unseen = replace(mine, values=(None, None, None), test=(None, None, None))
    tuned = ending_at(64, 0.02, 0.979)
    ends = ends_beside(tuned, unseen, better_by=0.0, half=0.001, verdict="open")
    ends = replace(ends, difference=Estimate.cannot_tell(WHY), standard_error=None, reason=WHY)

    advice = recommended(state, verification=verification(endings=ends), origin="pilot")

    assert advice.verdict == "cannot_tell"
    assert (advice.provisional.batch_size, advice.provisional.learning_rate) == (64, 0.02)


def test_what_stopped_the_study_is_the_reason_and_what_is_missing():
    advice = answer(state_of({}), reason=WHY)

    assert (advice.verdict, advice.reason, advice.missing) == ("cannot_tell", WHY, WHY)
    assert (advice.gain.reason, advice.gain_from_batch_size.reason) == (WHY, WHY)
    nothing = (advice.recommendation, advice.provisional, advice.expected, advice.laws)
    assert nothing == (None, None, None, None)
    assert (advice.more_budget_s, advice.pay_back_runs, advice.flat_set) == (None, None, ())


def test_a_recommendation_is_the_decisions_batch_size_at_its_tuned_rate():
    state = state_of()
    state.run_log.question = replace(
        state.question,
        options=tuple(
            replace(o, micro_batch_size=32) if o.batch_size == 128 else o
            for o in state.question.options
        ),
    )

    advice = recommended(state)

    assert advice.verdict == "recommend"
    assert advice.recommendation.batch_size == 128
    assert advice.recommendation.micro_batch_size == 32
    assert advice.recommendation.learning_rate == learning_rate(128)
    assert "128" in str(advice.reason)
    assert (advice.flat_set, advice.provisional) == ((128,), None)
    assert (advice.missing, advice.more_budget_s) == (None, None)


def test_where_it_does_not_matter_the_verdict_is_indifferent_and_the_interval_is_told():
    alike = decision(verdict="indifferent", batch_size=64, inside=(True, True), high=(1.05, 1.02))

    advice = recommended(decision=alike)

    assert advice.verdict == "indifferent"
    assert advice.recommendation.batch_size == 64
    assert advice.flat_set == (64, 128)
    assert advice.missing is None


def test_for_samples_the_reason_names_the_tolerance_as_well():
    state = state_of(objective="samples", delta=0.07)

    assert "7" in str(recommended(state).reason)


def test_a_recommendation_that_fresh_seeds_speak_against_is_none():
    state = state_of()
    missed = Reason.of("missed_on_fresh_seeds", size=128, missed=2, n=3)

    advice = recommended(state, verification=verification(n=1, missed=2, against=missed))

    assert advice.verdict == "cannot_tell"
    assert advice.missing == advice.reason
    assert all(number in str(advice.reason) for number in ("128", "2", "3"))
    assert advice.recommendation is None
    assert advice.provisional.batch_size == state.best() == 128
    assert (advice.expected, advice.head_to_head, advice.flat_set) == (None, None, ())
    assert advice.gain.estimate is None
    assert advice.gain.reason
    assert advice.pay_back_runs is None


def test_for_now_it_is_the_reference_where_that_was_better_on_fresh_seeds():
    why = Reason.of("reference_was_better", size=128, other=64, rate=0.01, n=3)
    against = {"against": why, "instead": (64, 0.01)}

    advice = recommended(verification=verification(**against))

    assert (advice.verdict, advice.reason) == ("cannot_tell", why)
    assert (advice.provisional.batch_size, advice.provisional.learning_rate) == (64, 0.01)


def test_a_seed_that_missed_among_others_is_told_and_leaves_the_answer():
    advice = recommended(verification=verification(n=5, missed=1))

    assert advice.verdict == "recommend"
    assert any("1 of 6 fresh seeds missed" in reason_text(told) for told in advice.caveats)


def test_an_open_decision_says_who_stands_against_whom_and_by_how_much():
    advice = answer(state_of(), decision=open_decision(1.3))

    assert advice.verdict == "cannot_tell"
    assert all(number in str(advice.missing) for number in ("128", "64"))
    assert "30" in str(advice.missing) or "0.3" in str(advice.missing)
    assert "130" not in str(advice.missing)
    assert str(advice.missing) in str(advice.reason)
    assert advice.provisional.batch_size == 128


def test_an_open_decision_blocked_by_what_was_not_tried_names_no_other():
    advice = answer(state_of(), decision=replace(open_decision(1.3), blocking=128))

    assert str(advice.missing).count("128") == 1
    assert "64" not in str(advice.missing)


@pytest.mark.parametrize("high", [1.05, math.inf])
def test_one_that_looks_best_with_too_few_runs_has_no_bound_in_its_reason(high):
    advice = answer(state_of(), decision=open_decision(high))

    assert "128" in str(advice.missing)
    assert "64" not in str(advice.missing)
    assert "inf" not in str(advice.missing)


# ---- how much more would tell


@pytest.mark.parametrize(
    ("high", "times"),
    [
        (1.1**2, 3.0),  # twice too wide: four times the runs, of which there is one
        (1.05, 0.5),  # hardly too wide, or not: half as much again at least
        (1.1**9, 20.0),  # never more than twenty times
    ],
)
def test_intervals_shrink_with_the_root_of_the_runs(high, times):
    advice = answer(state_of(spent_s=BUDGET_S), decision=open_decision(high))

    assert advice.more_budget_s == pytest.approx(times * BUDGET_S)


def test_without_a_bound_it_is_not_known_how_much_more_would_tell():
    assert answer(state_of(), decision=open_decision(math.inf)).more_budget_s is None


def test_what_step_times_keep_open_no_budget_settles():
    close = {64: (1000, 1001, 1002) * 2, 128: (1000, 1001, 1002) * 2}
    open_yet = replace(open_decision(1.3), relative=(1.0, 1.0), low=(0.9, 0.9))
    unsure = tuple(
        replace(option(size, STEP_S), step_s=Estimate.of(STEP_S, interval=(1e-3, 4e-3), n=8))
        for size in (64, 128)
    )
    by_step_times = answer(state_of(close, options=unsure), decision=open_yet)
    by_runs = answer(state_of(close, sizes=(64, 128), spent_s=BUDGET_S), decision=open_yet)

    assert by_step_times.more_budget_s is None
    assert by_runs.more_budget_s is not None
    assert str(by_step_times.missing) != str(by_runs.missing)


# ---- a target that can be met


def missed_state(*levels):
    runs = [Run(Status.OK, ((0, 0.1), (50, level), (100, level))) for level in levels]
    return made_up_state({64: runs}, sizes=SIZES)


def test_where_the_target_was_missed_the_level_that_the_best_run_had_is_proposed():
    advice = answer(missed_state(0.7, 0.8), reason=WHY)

    assert advice.proposed_target == Target(metric="accuracy", value=0.8, better="higher")


def test_nothing_is_proposed_where_the_target_was_met_or_nothing_was_learned():
    met_after_an_easier_level, decided = two_levels(SLOW_AT_LAST, FASTER_THROUGHOUT)

    assert answer(met_after_an_easier_level, decision=decided).proposed_target is None
    assert answer(missed_state(0.05), reason=WHY).proposed_target is None
    assert answer(missed_state(0.99), reason=WHY).proposed_target is None
    assert answer(quality_state(), reason=WHY).proposed_target is None


# ---- what is expected


def test_expected_time_is_the_verified_steps_times_the_step_time_with_both_errors():
    expected = recommended().expected

    assert expected.steps_to_target.estimate == pytest.approx(400)
    assert expected.steps_to_target.n == 3
    assert math.log(expected.steps_to_target.high / 400) == pytest.approx(0.1)
    assert math.log(expected.steps_to_target.low / 400) == pytest.approx(-0.1)
    assert expected.time_to_target_s.estimate == pytest.approx(400 * STEP_S)
    step_half = math.log(1.01 / 0.99) / 2
    for bound, sign in ((expected.time_to_target_s.low, -1), (expected.time_to_target_s.high, 1)):
        half = sign * math.hypot(0.1, step_half)
        assert math.log(bound / (400 * STEP_S)) == pytest.approx(half)


def test_expected_samples_and_epochs_are_multiples_of_the_steps():
    expected = recommended().expected

    # An epoch has 157 steps, its last of 32 examples.
    assert expected.samples_to_target.estimate == pytest.approx(400 * N_TRAIN / 157)
    assert expected.samples_to_target.high == pytest.approx(400 * N_TRAIN / 157 * math.exp(0.1))
    assert expected.epochs_to_target.estimate == pytest.approx(400 / 157)
    assert expected.epochs_to_target.low == pytest.approx(400 / 157 * math.exp(-0.1))


def test_without_verification_the_valuation_runs_say_what_is_expected():
    state = state_of()

    steps = recommended(state, verification=UNVERIFIED).expected.steps_to_target

    costs = costs_of(state)
    assert steps.estimate == pytest.approx(np.exp(np.mean(np.log(STEPS[128]))))
    drawn = np.exp(costs.learning_cost_draws[:, 1])
    assert (steps.low, steps.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), rel=1e-4)
    assert steps.n == 3


def test_the_peak_memory_is_the_profiles_or_unknown():
    known = recommended().expected.peak_bytes
    unknown = tuple(replace(option(size, STEP_S), peak_bytes=None) for size in SIZES)

    unreported = recommended(state_of(options=unknown)).expected.peak_bytes

    assert known.estimate == known.low == known.high == 100_000_000 + 1000 * 128
    assert unreported.estimate is None
    assert unreported.reason


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"longest_epochs": 5}, 5 * math.ceil(N_TRAIN / 128)),
        ({"longest_epochs": None, "longest_s": 1.0}, 500),
    ],
)
def test_for_quality_every_run_has_the_steps_that_are_given(given, steps):
    advice = recommended(quality_state(**given))

    assert advice.expected.steps_to_target.estimate == steps
    assert advice.expected.time_to_target_s.estimate == pytest.approx(steps * STEP_S)
    assert advice.candidate(128).steps_to_target.estimate == steps


# ---- gain and pay-back


def test_the_gain_is_that_of_the_verification():
    advice = recommended()

    assert advice.gain == verification().gain
    assert advice.gain_from_batch_size == verification().gain_from_batch_size
    assert advice.head_to_head == verification().head_to_head


def test_the_study_pays_back_after_what_it_took_over_what_a_run_saves():
    advice = recommended(state_of(spent_s=100.0))

    # A run takes 400 steps of 2 ms, the reference three times that.
    assert advice.pay_back_runs == pytest.approx(100.0 / (2 * 400 * STEP_S))


def test_where_the_gain_is_only_bounded_the_bound_says_when_it_pays_back():
    at_least = Estimate(estimate=None, low=5.0, high=None, n=3, reason=WHY)

    advice = recommended(state_of(spent_s=100.0), verification=verification(gain=at_least))

    assert advice.pay_back_runs == pytest.approx(100.0 / (4 * 400 * STEP_S))


@pytest.mark.parametrize(
    ("state", "verified"),
    [
        (state_of(), verification(gain=Estimate.of(1.0, interval=(1.0, 1.0), n=3))),
        (state_of(), verification(gain=Estimate.of(0.9, interval=(0.8, 1.1), n=3))),
        (state_of(), UNVERIFIED),
        (state_of(), None),
        (state_of(objective="samples"), verification()),
        (quality_state(), verification()),
    ],
)
def test_nothing_pays_back_that_saves_no_time_for_sure(state, verified):
    assert recommended(state, verification=verified).pay_back_runs is None


# ---- other targets


def test_a_recommendation_that_another_target_flips_is_a_caveat():
    state, decided = two_levels(SLOW_AT_LAST, FASTER_AT_LAST)
    assert decided.batch_size == 128

    advice = answer(state, decision=decided, verification=verification())

    easier = advice.other_targets[0]
    assert (easier.verdict, easier.batch_size) == ("recommend", 64)
    assert len(advice.caveats) == 1
    assert all(word in str(advice.caveats[0]) for word in ("easier", "0.9", "64"))


def test_without_a_decision_no_other_target_is_decided():
    state, _ = two_levels(SLOW_AT_LAST, FASTER_THROUGHOUT)

    assert answer(state, reason=WHY).other_targets == ()


# ---- caveats and what was done


def test_a_recommendation_from_verified_and_finished_searches_has_no_caveat():
    assert recommended().caveats == ()


def test_an_answer_for_an_easier_target_names_it():
    advice = recommended(state_of(target=0.85), origin="easier")

    assert advice.target_origin == "easier"
    assert len(advice.caveats) == 1
    assert "0.85" in str(advice.caveats[0])


def test_what_was_not_verified_is_said():
    assert len(recommended(verification=UNVERIFIED).caveats) == 1


def test_batch_sizes_whose_search_was_cut_are_named():
    state = state_of()
    state.tuned[128].finished = False

    caveats = recommended(state).caveats

    assert len(caveats) == 1
    assert "128" in str(caveats[0])
    assert "64" not in str(caveats[0])


def test_the_laws_are_told_once_three_batch_sizes_were_valued():
    two, three = recommended(), recommended(state_of(STEPS | {256: (300, 303, 306)}))

    assert two.laws is None
    assert three.laws.b_crit.n == 9


def test_every_run_and_all_that_was_spent_is_told():
    state = made_up_state({64: [met(1000), cut(2000)], 128: [met(500)]}, sizes=SIZES, spent_s=7.0)
    state.run_log.note("looked", "to see")

    advice = recommended(state)

    assert [(t.batch_size, t.steps_to_target) for t in advice.tried] == [
        (64, 1000.0),
        (64, None),
        (128, 500.0),
    ]
    assert (advice.n_trials, advice.spent_s, advice.budget_s) == (3, 7.0, 1e6)
    assert len(advice.steps) == 1
    assert (advice.objective, advice.delta, advice.target) == (
        "time",
        0.1,
        state.question.target,
    )


def test_the_reference_is_told_as_it_is_and_at_its_tuned_rate():
    advice, untuned = recommended(), recommended(state_of({128: STEPS[128]}))

    assert advice.reference == REFERENCE
    assert advice.reference_tuned.batch_size == 64
    assert advice.reference_tuned.learning_rate == learning_rate(64)
    assert untuned.reference_tuned is None


def test_other_targets_and_candidates_are_those_of_the_state():
    state, decided = two_levels(SLOW_AT_LAST, FASTER_THROUGHOUT)

    advice = answer(state, decision=decided, verification=verification())

    assert [other.which for other in advice.other_targets] == ["easier", "harder"]
    assert advice.caveats == ()
    assert [c.batch_size for c in advice.candidates] == [64, 128]
    assert [c.in_flat_set for c in advice.candidates] == [False, True]


# ---- better


def test_what_is_better_for_sure_is_named_though_the_best_is_open():
    advice = answer(
        state_of(spent_s=BUDGET_S), decision=open_decision(1.3), verification=verification()
    )

    assert advice.verdict == "better"
    assert advice.recommendation.batch_size == 128
    assert advice.recommendation.learning_rate == learning_rate(128)
    assert advice.provisional is None
    assert (advice.gain.estimate, advice.flat_set) == (3.0, ())
    assert advice.missing.code == "may_take_longer_than_best"
    assert (advice.missing.named["size"], advice.missing.named["times"]) == (128, 1.3)
    assert advice.reason.quotes(advice.missing)
    assert advice.more_budget_s > 0
    assert advice.expected.steps_to_target.estimate == pytest.approx(400)
    assert advice.pay_back_runs == pytest.approx(BUDGET_S / (2.0 * 400 * STEP_S))


@pytest.mark.parametrize(
    "gain",
    [
        Estimate.of(1.5, interval=(0.9, 2.4), n=3),
        Estimate.of(1.0, interval=(1.0, 1.0), n=3),
        Estimate.cannot_tell(WHY),
    ],
    ids=["perhaps", "the reference itself", "unknown"],
)
def test_what_is_not_better_for_sure_is_for_now_only(gain):
    advice = answer(state_of(), decision=open_decision(1.3), verification=verification(gain=gain))

    assert advice.verdict == "cannot_tell"
    assert advice.recommendation is None
    assert advice.provisional.batch_size == 128


def test_a_reference_that_was_never_seen_to_arrive_is_beaten_by_its_bound():
    bound = Estimate(estimate=None, low=2.0, high=None, n=3, reason=WHY)

    advice = answer(state_of(), decision=open_decision(1.3), verification=verification(gain=bound))

    assert advice.verdict == "better"


def test_for_samples_better_is_not_what_is_asked():
    state = state_of(objective="samples")

    advice = answer(state, decision=open_decision(1.3), verification=verification())

    assert advice.verdict == "cannot_tell"
