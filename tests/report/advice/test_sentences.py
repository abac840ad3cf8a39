from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up_advice import (
    KINDS,
    UNTOLD,
    advice_study,
    around,
    cannot_tell_advice,
    cooled_advice,
    made_up_advice,
    nothing_reached_advice,
    one_sided_advice,
    same_time_machine,
    with_endings,
)

from batchlab.advice.advice import Advice, Configuration
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_run_figures import advice_figures
from batchlab.report.advice_text import advice_sentences

written = Reason.as_written

ADVICE = made_up_advice()
STUDY = advice_study(ADVICE)


def said(advice, topic: str) -> str:
    found = [str(s) for s in advice_sentences(advice, STUDY) if s.topic == topic]
    return found[0] if found else ""


def command(advice) -> str:
    """The one that would settle an open answer."""
    (found,) = [s.command for s in advice_sentences(advice, STUDY) if s.command]
    return found


def with_relative(advice, **relatives):
    """The advice with other ratios to the best of single batch sizes, `b64=estimate`."""
    return replace(
        advice,
        candidates=tuple(
            replace(
                c,
                relative=relatives.get(f"b{c.batch_size}", c.relative),
                in_flat_set=c.in_flat_set and f"b{c.batch_size}" not in relatives,
            )
            for c in advice.candidates
        ),
    )


# ---- the answer


def test_a_recommendation_names_batch_size_learning_rate_and_purpose():
    assert said(ADVICE, "answer") == (
        "Use batch size 1024 with learning rate 0.26 for the least time to validation accuracy ≥ "
        "0.95."
    )


def test_indifferent_says_that_it_does_not_matter_and_takes_the_least_memory():
    advice = made_up_advice(step_s=same_time_machine, spread=0.03)

    assert said(advice, "answer") == (
        "The batch size hardly matters here: 16 to 4096 are all within 10 % of the best time. Use "
        "batch size 16 with learning rate 0.022. It takes the least memory."
    )


def test_cannot_tell_recommends_nothing_and_says_what_would_settle_it():
    advice = cannot_tell_advice()

    assert said(advice, "answer") == (
        "Still open: which batch size gets to validation accuracy ≥ 0.95 first."
    )
    assert said(advice, "how sure") == "The 95 % bounds of 16 to 1024 overlap by more than 10 %."
    assert "Use batch size" not in " ".join(map(str, advice_sentences(advice, STUDY)))
    assert said(advice, "what would settle it") == (
        "Missing: runs of 3 more seeds at batch sizes 128, 256 and 512. About 7 min more may "
        "settle it."
    )
    assert command(advice) == "batchlab advise made-up --budget 12m"


def test_a_target_that_was_reached_is_proposed():
    advice = nothing_reached_advice()

    assert "did get as far as validation accuracy ≥ 0.94." in said(advice, "what would settle it")
    assert command(advice) == "batchlab advise made-up --budget 5m --target accuracy=0.94"


def test_a_recommendation_that_changes_nothing_says_keep():
    own = ADVICE.recommendation
    advice = replace(ADVICE, reference=own)

    assert said(advice, "answer").startswith("Keep batch size 1024 and learning rate 0.26 for")
    assert said(advice, "gain") == "It is your own configuration, so there is nothing to gain."
    assert said(advice, "from the batch size alone") == ""


def test_a_new_rate_for_the_old_batch_size_gains_nothing_from_the_batch_size():
    own = replace(ADVICE.recommendation, learning_rate=0.01)
    advice = replace(ADVICE, reference=own)

    assert said(advice, "answer").startswith("Keep batch size 1024 and set learning rate 0.26")
    assert said(advice, "from the batch size alone").startswith("None: the batch size stays")


# ---- the two gains


def test_the_gain_is_told_apart_from_the_gain_of_the_batch_size():
    advice = replace(ADVICE, gain=around(3.0, 0.1, 4), gain_from_batch_size=around(1.5, 0.1, 4))

    assert said(advice, "gain") == (
        "Your configuration (batch size 64, learning rate 0.01) takes 3 times as long (95 %: 2.7 "
        "to 3.3, 4 seeds)."
    )
    assert said(advice, "from the batch size alone") == (
        "Batch size 64 at its tuned rate (0.05) takes 1.5 times as long (95 %: 1.4 to "
        "1.7, 4 seeds). The batch size alone gains this much, the learning rate the rest."
    )


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (around(2.0, 0.1), "takes 2 times as long (95 %: 1.8 to 2.2, 6 seeds)."),
        (around(0.5, 0.1), "takes only 0.50 times as long (95 %: 0.45 to 0.55, 6 seeds): it did"),
        (around(1.1, 0.2), "6 seeds); there may be no difference."),
        (around(0.9, 0.2), "takes 0.90 times as long (95 %: 0.72 to 1.08, 6 seeds); there may be"),
        (
            Estimate.of(2.0, interval=(None, None), n=1),
            "2 times as long (no interval, so it may be chance).",
        ),
        (UNTOLD, "can't be compared: no run reached the target."),
        (
            Estimate(estimate=None, low=1.8, high=None, n=3, reason=written("x")),
            "takes at least 1.8 times",
        ),
    ],
    ids=["larger", "smaller", "open", "open below", "one seed", "unknown", "bound"],
)
def test_the_gain_claims_no_more_than_its_interval(gain, words):
    text = said(replace(ADVICE, gain=gain), "gain")

    assert words in text
    assert ("it did better" in text) == (words.endswith("it did"))


def test_a_reference_that_missed_is_counted():
    advice = made_up_advice(reference_misses=True)

    assert said(advice, "gain").endswith(
        "takes at least 1.8 times as long; it missed the target on 4 of 4 seeds."
    )


def test_a_gain_that_the_batch_size_has_no_sure_part_in_is_the_learning_rates():
    advice = replace(ADVICE, gain=around(3.0, 0.1), gain_from_batch_size=around(1.05, 0.1))

    text = said(advice, "from the batch size alone")

    assert "there may be no difference" in text
    assert text.endswith("The part of the gain that is certain comes from the learning rate.")


def test_two_gains_that_overlap_leave_no_rest_to_the_learning_rate():
    advice = replace(ADVICE, gain=around(2.0, 0.2), gain_from_batch_size=around(1.9, 0.2))

    text = said(advice, "from the batch size alone")

    assert text.endswith("The batch size alone gains this much.")


def test_a_tuned_rate_that_did_worse_than_your_own_is_no_measure_of_the_batch_size():
    advice = replace(ADVICE, gain=around(1.6, 0.2), gain_from_batch_size=around(2.2, 0.2))

    text = said(advice, "from the batch size alone")

    assert "gains" not in text
    assert text.endswith("your own rate was the better of the two at that batch size.")


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("time", "times as long"),
        ("samples", "times as many samples"),
        ("quality", "as many errors"),
    ],
)
def test_each_objective_has_its_own_words(objective, words):
    assert words in said(made_up_advice(objective=objective), "gain")


def test_of_a_loss_quality_is_told_in_the_loss_and_of_an_older_answer_as_it_was():
    advice = replace(made_up_advice(objective="quality"), metric="loss", better="lower")

    assert "times the loss" in said(advice, "gain")
    assert "from perfect" in said(replace(advice, metric=""), "gain")


# ---- usual sizes


def test_a_usual_size_that_is_far_off_is_told_by_its_lower_bounds():
    (sentence,) = [s for s in advice_sentences(ADVICE, STUDY) if s.topic == "usual sizes"]

    assert sentence.verdict == "did_not_hold"
    assert "takes at least 14, 7.4, 3.9 and 2.2 times as long as with the best" in str(sentence)


def test_a_usual_size_inside_the_flat_set_held():
    advice = made_up_advice(steps=lambda b: 500.0 * (1 + (b / 64 - 1) ** 2), step_s=lambda b: 1e-3)

    (sentence,) = [s for s in advice_sentences(advice, STUDY) if s.topic == "usual sizes"]

    assert sentence.verdict == "held"
    assert "64 is within 10 % of the best time" in str(sentence)
    assert "16 and 32 are still open" not in str(sentence)


def test_a_usual_size_whose_bounds_are_wide_is_left_open():
    wide = Estimate.of(1.05, interval=(1.0, 1.4), n=3)
    advice = with_relative(ADVICE, b16=wide, b32=wide, b64=wide, b128=wide)
    unverified = replace(advice, gain_from_batch_size=wide)

    (sentence,) = [s for s in advice_sentences(unverified, STUDY) if s.topic == "usual sizes"]

    assert sentence.verdict == "cannot_tell"
    assert (
        str(sentence) == "It is open whether any of the usual 16, 32, 64 and 128 is near the best."
    )


def test_the_own_batch_size_among_the_usual_ones_is_told_by_its_fresh_seeds():
    """Two sentences about 64 at its tuned rate must not contradict each other."""
    wide = Estimate.of(1.05, interval=(1.0, 1.4), n=3)
    advice = with_relative(ADVICE, b16=wide, b32=wide, b64=wide, b128=wide)
    verified = replace(advice, gain_from_batch_size=Estimate.of(2.0, interval=(1.6, 2.6), n=3))

    told = said(verified, "usual sizes")

    assert "with 64 it takes at least 1.6 times as long as with the best" in told
    assert "16, 32 and 128 are still open" in told


# ---- laws, rules, targets, break-even


def test_a_critical_batch_size_is_a_value_a_bound_or_withheld():
    assert said(ADVICE, "critical batch size").endswith("is 500 (95 %: 440 to 560).")
    assert "at least 9,000: beyond the largest" in said(one_sided_advice(), "critical batch size")
    withheld = said(cannot_tell_advice(), "critical batch size")
    assert "can't be told: the law does not fit" in withheld
    assert "In the more general law the exponent is 0.78 (95 %: 0.718 to 0.842)" in withheld


def test_a_critical_batch_size_without_the_law_is_told_with_the_exponent():
    laws = replace(ADVICE.laws, law_holds=False)

    text = said(replace(ADVICE, laws=laws), "critical batch size")

    assert "is 500 (95 %: 440 to 560). The steps follow the more general law" in text
    assert "instead of 1" in text


def test_the_law_of_the_steps_is_told_with_its_parameters_and_its_test():
    assert said(ADVICE, "law of the steps") == (
        "The steps were fitted with S = S_min (1 + B_crit / B), on log steps. S_min: 300 (95 %: "
        "282 to 318). E_min in examples: 150,000 (95 %: 138,000 to 162,000). Its test against the "
        "scatter of the seeds gives p = 0.41."
    )
    assert said(cannot_tell_advice(), "law of the steps") == (
        "The law S = S_min (1 + B_crit / B) was not used. Its test against the scatter of the "
        "seeds gives p = 0.003."
    )
    without_curve = replace(ADVICE.laws, curve=())
    assert said(replace(ADVICE, laws=without_curve), "law of the steps") == ""


def test_rules_are_held_against_the_tuned_rate():
    text = said(ADVICE, "scaling rules")

    assert "linear 0.8 (3.1 times it)" in text
    assert "none 0.05 (0.19 times it)" in text


def test_an_answer_that_flips_at_another_target_says_so():
    easier, _ = ADVICE.other_targets
    flipped = replace(ADVICE, other_targets=(replace(easier, batch_size=64),))

    assert "the answer is batch size 64: it depends on the target." in said(
        flipped, "other targets"
    )
    assert "batch size 1024 as well" in said(ADVICE, "other targets")


def test_when_to_stop_names_the_target_and_where_it_came_from():
    given = replace(ADVICE, target_origin="given")
    easier = replace(ADVICE, target_origin="easier")

    assert said(given, "when to stop") == (
        "At validation accuracy ≥ 0.95, expected after 112 epochs (95 %: 106 to 117)."
    )
    assert "The target is an easier one: the budget" in said(easier, "when to stop")


@pytest.mark.parametrize(
    ("advice", "words"),
    [
        (ADVICE, "Breaks even after about 22 trainings (the study took"),
        (
            replace(ADVICE, pay_back_runs=0.4),
            "Breaks even after about one training (the study",
        ),
        (
            replace(ADVICE, pay_back_runs=None),
            "After how many trainings it breaks even is not known.",
        ),
        (
            replace(ADVICE, pay_back_runs=None, gain=around(1.0, 0.2)),
            "and found nothing that surely saves time.",
        ),
    ],
)
def test_break_even_follows_the_gain(advice, words):
    assert words in said(advice, "break-even")


@pytest.mark.parametrize("kind", KINDS)
def test_every_sentence_of_every_kind_is_one_whole_sentence(kind):
    for sentence in advice_sentences(KINDS[kind](), STUDY):
        text = str(sentence)
        assert text[0].isupper()
        assert text.endswith(".")
        assert ".." not in text
        assert "None" not in text or text.startswith("None: the batch size")
        assert "nan" not in text


def test_a_usual_size_that_was_not_trained_is_told_as_read_off_the_curve():
    advice = replace(
        ADVICE,
        candidates=tuple(
            replace(c, learning_rate=None, n_runs=0) if c.batch_size == 16 else c
            for c in ADVICE.candidates
        ),
    )

    assert "16 was not trained: this is read off the fitted curve" in said(advice, "usual sizes")
    assert "not trained" not in said(ADVICE, "usual sizes")


def test_a_usual_size_that_missed_the_target_is_told_by_what_that_leaves():
    missed = Estimate(
        estimate=None, low=1.7, high=None, n=0, reason=written("no rate tried met it")
    )
    untold = Estimate.cannot_tell(written("it was not tried"))
    advice = with_relative(ADVICE, b16=missed, b32=untold)
    advice = replace(
        advice,
        candidates=tuple(
            replace(c, learning_rate=None, n_runs=0) if c.batch_size in (16, 32) else c
            for c in advice.candidates
        ),
    )

    text = said(advice, "usual sizes")

    assert "with 16, 64 and 128 it takes at least 1.7, 3.9 and 2.2 times as long" in text
    assert "32 is still open" in text
    assert "No run of 16 met the target, so only this bound is known" in text
    assert "fitted curve" not in text


def test_a_stand_in_is_never_called_the_users_own():
    advice = replace(ADVICE, stand_in_for=96)
    same = replace(advice, recommendation=advice.reference, target_origin="pilot")

    assert "The stand-in for your configuration (batch size 64" in said(advice, "gain")
    assert "Your batch size 96 cannot be used here." in said(same, "gain")
    assert "what the stand-in for your configuration ends with" in said(same, "when to stop")
    figures = str(advice_figures(advice, advice_study(advice), None))
    assert "your configuration" not in figures.replace("the stand-in for your configuration", "")
    assert "your batch size" not in figures
    assert "the stand-in for your configuration" in figures


def raced_advice() -> Advice:
    """What a race of single runs names is all that there is."""
    return replace(
        cannot_tell_advice(),
        reason=Reason.of("single_runs"),
        endings=None,
        provisional=Configuration(batch_size=256, micro_batch_size=256, learning_rate=0.113),
    )


def test_what_a_race_names_is_the_answer_for_now():
    advice = raced_advice()
    own = replace(advice, provisional=advice.reference)

    assert said(advice, "answer") == (
        "Best so far: batch size 256 with learning rate 0.113 (not yet certain, from a few single "
        "runs)."
    )
    assert said(advice, "how sure").startswith("Still open: which batch size gets to")
    assert said(own, "answer").startswith("For now keep batch size")


def test_the_gain_of_a_race_says_where_its_interval_comes_from():
    advice = replace(raced_advice(), gain=Estimate.of(3.0, interval=(1.2, 4.65), n=1))

    assert said(advice, "gain") == (
        "In single runs your configuration takes 3 times as long (95 %: 1.2 to 4.7). The interval "
        "comes from how far such runs were off on recorded trainings."
    )
    assert said(replace(advice, provisional=None), "gain") == ""


def test_a_budget_asked_for_in_trainings_is_proposed_in_trainings() -> None:
    advice = replace(cannot_tell_advice(), trainings=4.0, budget_s=300.0, more_budget_s=420.0)

    assert command(advice) == "batchlab advise made-up --trainings 10"


def test_the_model_of_a_whole_training_with_what_is_named_can_be_had() -> None:
    followed = with_endings(made_up_advice())
    assert followed.endings is not None
    unseen = replace(followed.endings.recommended, values=(None, None, None))
    not_followed = replace(followed, endings=replace(followed.endings, recommended=unseen))

    assert "This command writes its model to a file." in said(followed, "trained model")
    assert said(not_followed, "trained model") == ""
    assert said(made_up_advice(), "trained model") == ""  # only the time to a level was compared


def test_what_was_missing_is_not_said_twice():
    missing = written("A and B")
    reason = Reason.of("runs_leave_open", missing=missing)
    advice = replace(cannot_tell_advice(), reason=reason, missing=missing)

    assert "A and B" not in said(advice, "what would settle it")


@pytest.mark.parametrize(("runs", "told"), [(1.66, "1.7"), (16.6, "17"), (166.0, "170")])
def test_the_runs_that_pay_the_study_back_have_two_digits(runs: float, told: str) -> None:
    advice = replace(made_up_advice(), pay_back_runs=runs)

    assert f"about {told} trainings" in said(advice, "break-even")


def test_what_cannot_be_told_names_the_best_of_what_was_tried_and_no_recommendation() -> None:
    found = Configuration(batch_size=256, micro_batch_size=256, learning_rate=0.113137)
    advice = replace(
        made_up_advice(), verdict="cannot_tell", recommendation=None, provisional=found
    )

    told = said(advice, "answer")
    assert told == "Best so far: batch size 256 with learning rate 0.11 (not yet certain)."


def test_the_best_so_far_may_be_what_ends_best_and_not_what_is_fastest() -> None:
    advice = with_endings(cannot_tell_advice(), better_by=-0.004, verdict="open")
    tuned = Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.04)

    told = said(replace(advice, provisional=tuned), "answer")

    assert "batch size 64 with learning rate 0.04 (not yet certain)" in told
    assert "What is faster seems to end worse." in told


def test_what_was_not_trained_to_its_end_is_not_the_best_so_far() -> None:
    advice = with_endings(cannot_tell_advice(), verdict="open")
    assert advice.endings is not None
    unseen = replace(advice.endings.recommended, values=(None, None, None))
    tuned = Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.04)
    endings = replace(advice.endings, recommended=unseen)

    told = said(replace(advice, provisional=tuned, endings=endings), "answer")

    assert "batch size 64 with learning rate 0.04 (not yet certain)" in told
    assert "Others may be faster, but were not trained to the end." in told


def test_where_nothing_tried_is_better_the_own_configuration_is_kept_for_now() -> None:
    advice = made_up_advice()
    advice = replace(
        advice, verdict="cannot_tell", recommendation=None, provisional=advice.reference
    )

    assert "keep batch size 64 and learning rate 0.01" in said(advice, "answer")


# ---- why, in numbers


@pytest.mark.parametrize(
    ("own", "reference_s", "ratio", "told"),
    [
        (
            {"batch_size": 1024, "learning_rate": 0.16},
            2.0,
            4.0,
            "A batch 16 times as large with 16 times the learning rate needs 5.7 times fewer "
            "steps, and each step takes only 1.4 times as long.",
        ),
        (
            {"batch_size": 16, "learning_rate": 0.01},
            8.0,
            2.0,
            "A batch 4 times smaller at the same learning rate needs 2 times as many steps, but "
            "each step is 4 times faster.",
        ),
        (
            {"batch_size": 64, "learning_rate": 0.0025},
            2.0,
            3.0,
            "The same batch size with a learning rate 4 times smaller needs 3 times fewer steps.",
        ),
    ],
)
def test_why_is_told_in_steps_and_step_times_that_make_up_the_gain(
    own, reference_s, ratio, told
) -> None:
    times_ms = {16: 2.0, 64: reference_s, 1024: 2.86}
    recommended = replace(ADVICE.recommendation, **own)
    advice = replace(
        ADVICE,
        recommendation=recommended,
        gain=around(ratio),
        candidates=tuple(
            replace(c, step_s=around(times_ms.get(c.batch_size, 2.0) * 1e-3))
            for c in ADVICE.candidates
        ),
    )

    assert said(advice, "why") == told


@pytest.mark.parametrize(
    "advice",
    [
        replace(ADVICE, gain=around(1.02)),
        replace(ADVICE, gain=Estimate.cannot_tell(written("it missed the target"))),
        replace(ADVICE, objective="samples"),
        cannot_tell_advice(),
    ],
    ids=["perhaps no gain", "unknown gain", "other objective", "open"],
)
def test_why_is_told_only_of_a_gain_in_time_that_is_certain(advice) -> None:
    assert said(advice, "why") == ""


def where_it_ends(advice):
    return said(advice, "where it ends")


def test_where_it_ends_names_all_three_as_finely_as_the_margin():
    told = where_it_ends(with_endings(made_up_advice()))

    assert "ends at accuracy 0.9784" in told
    assert "your configuration at 0.9780, 64 at its tuned rate at 0.9772" in told
    assert "Trained 3 times for 16 epochs" in told


def test_the_own_batch_size_at_another_rate_is_named_with_it_where_it_ends():
    advice = with_endings(made_up_advice())
    own = replace(advice.endings.recommended, batch_size=64, learning_rate=0.04)

    told = where_it_ends(replace(advice, endings=replace(advice.endings, recommended=own)))

    assert "batch size 64 at learning rate 0.04 ends at accuracy 0.9784, your configuration" in told


def test_how_much_worse_it_may_end_is_told_in_errors_where_there_are_any():
    advice = with_endings(made_up_advice())
    assert "up to 3.64 % more errors than the better of yours (95 %); 5 % is" in where_it_ends(
        advice
    )

    loss = replace(advice, endings=replace(advice.endings, margin=0.004))
    assert "up to 0.0008 worse than the better of yours (95 %); 0.004 is" in where_it_ends(loss)


def test_what_ends_better_for_sure_is_told_so():
    assert "certainly ends at least as well (95 %)" in where_it_ends(
        with_endings(made_up_advice(), better_by=0.003)
    )


def test_of_one_training_each_nothing_is_told_of_how_much_worse_it_may_be():
    advice = with_endings(made_up_advice(), verdict="open")
    unknown = Estimate.of(0.0004, interval=(None, None), n=1)
    alone = replace(advice, endings=replace(advice.endings, difference=unknown))

    assert "too few trainings to tell" in where_it_ends(alone)


def test_a_reference_without_a_whole_training_is_told_so():
    advice = with_endings(cannot_tell_advice(), verdict="open")
    untrained = replace(advice.endings.reference, values=(None, None, None))

    told = where_it_ends(replace(advice, endings=replace(advice.endings, reference=untrained)))

    assert "your configuration was not trained to its end" in told


def test_what_ends_worse_is_told_with_why():
    advice = with_endings(cannot_tell_advice(), verdict="worse", better_by=-0.004)

    assert "That is worse: the interval lies above the margin." in where_it_ends(advice)


def test_a_cool_down_is_told_with_what_ends_worse_without_it():
    advice = cooled_advice()
    told = where_it_ends(advice)

    assert "At a constant rate it ends worse: at accuracy 0.9720, the better of yours" in told
    assert "So a rate that falls to zero over the last 20 % of 16 epochs was tried" in told
    assert "With it batch size 1024 ends" in told
    assert "batch size 1024 ends at accuracy 0.9822, your configuration at 0.9810" in told
    assert "that falls to zero over the last 20 % of the training" in said(advice, "answer")


def test_where_no_training_was_followed_to_its_end_nothing_is_said_of_it():
    assert where_it_ends(made_up_advice()) == ""


def test_with_a_cool_down_whole_trainings_are_compared_not_the_time_to_the_target():
    advice = cooled_advice()

    told = said(advice, "answer")

    assert "16 epochs then take 183 ms instead of 2.05 s with your batch size" in told
    assert "it ends at most 0.0003 worse (95 %)" in told
    assert "least time" not in told
    assert "when the rate has fallen to zero" in said(advice, "when to stop")
    assert said(advice, "break-even") == ""
