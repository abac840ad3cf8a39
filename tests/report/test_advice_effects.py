"""One sentence on each effect of batch size, against closed forms; or why it is not known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_curves, made_up_record
from tests.reference.made_up_advice import (
    KINDS,
    N_TRAIN,
    TARGET,
    advice_study,
    cannot_tell_advice,
    cooled_advice,
    law,
    made_up_advice,
    made_up_gap,
    made_up_jump,
    nothing_reached_advice,
    with_endings,
)

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice_effects import Effects, effect_sentences, effects_of, untold_sentences

ADVICE = with_endings(made_up_advice(sizes=(64, 256, 1024)))


def effects(advice: Advice, study: Study | None = None) -> Effects:
    return effects_of(advice, study or advice_study(advice))


def said(advice: Advice, study: Study | None = None) -> dict[str, str]:
    study = study or advice_study(advice)
    return effect_sentences(advice, study, effects(advice, study))


def test_epochs_are_told_of_the_smallest_and_the_largest_batch_size():
    low, high = (law(size) * size / N_TRAIN for size in (64, 1024))

    assert said(ADVICE)["epochs"] == (
        f"Epochs enough for validation accuracy ≥ 0.95: about {low:.3g} at batch size 64, "
        f"{high:.3g} at batch size 1024."
    )


def test_where_a_single_run_missed_the_target_that_is_said_and_no_number():
    advice = replace(cannot_tell_advice(), reason=KINDS["cannot_tell"]().reason)
    missed = tuple(
        replace(run, steps_to_target=None, status="ok") if run.batch_size == 1024 else run
        for run in advice.tried
    )
    without = tuple(
        replace(c, learning_rate=None) if c.batch_size == 1024 else c for c in advice.candidates
    )

    sentence = said(replace(advice, tried=missed, candidates=without))["epochs"]

    assert sentence.endswith("Not every run got there at batch size 1024.")
    assert "at full batch." in sentence


def test_where_nothing_reached_the_target_the_epochs_are_open():
    assert said(nothing_reached_advice())["epochs"] == (
        "At no batch size did every run get to validation accuracy ≥ 0.999, so how many epochs "
        "are enough is open."
    )


def test_jumps_are_those_of_the_last_half_of_whole_trainings():
    # Up and down by j each epoch, second differences are 4 j, and their scale is 4 j / sqrt(6).
    low, high = (4 * made_up_jump(size) / math.sqrt(6) for size in (64, 1024))

    assert said(ADVICE)["noise"] == (
        f"From one epoch to the next the validation accuracy jumps by about {low:.2g} at batch "
        f"size 64 and {high:.2g} at batch size 1024."
    )


def test_the_gap_is_train_less_test_at_the_end_of_whole_trainings():
    assert said(ADVICE)["gap"] == (
        f"Training minus test accuracy: {made_up_gap(64):.4f} at batch size 64, "
        f"{made_up_gap(1024):.4f} at batch size 1024."
    )


def test_with_a_cool_down_the_gap_is_that_of_cooled_trainings_and_the_noise_that_without():
    found = effects(cooled_advice())

    assert {r.trial.cool_down for effect in found.ends for r in effect.records} == {0.2}
    assert {r.trial.cool_down for effect in found.flat for r in effect.records} == {0.0}


def scheduled(study: Study) -> Study:
    """The same with a learning rate that follows a shape of the workload's own."""
    return replace(
        study,
        records=tuple(
            replace(r, trial=replace(r.trial, horizon_steps=r.steps)) for r in study.records
        ),
    )


def test_under_a_schedule_jumps_are_not_taken_for_an_effect_of_the_batch_size():
    study = scheduled(advice_study(ADVICE))

    assert effects(ADVICE, study).noisy == ()
    assert "learning rate changes along these trainings" in said(ADVICE, study)["noise"]
    assert effects(ADVICE, study).shows_all


def only_yours(advice: Advice) -> Study:
    """The study as if nothing but the reference had been trained to its end."""
    study = advice_study(advice)
    kept = [
        r
        for r in study.records
        if r.final("train", "accuracy") is None or r.trial.batch_size == advice.reference.batch_size
    ]
    return replace(study, records=tuple(kept))


def test_of_one_batch_size_alone_its_numbers_are_told_and_that_they_are_alone():
    sentences = said(ADVICE, only_yours(ADVICE))

    assert sentences["gap"] == (
        f"Training minus test accuracy: {made_up_gap(64):.4f} at batch size 64. No other batch "
        "size was trained to its end."
    )
    assert sentences["noise"].endswith("at batch size 64. Of other batch sizes it is not known.")
    assert not effects(ADVICE, only_yours(ADVICE)).shows_all


def test_runs_that_stop_at_the_target_show_neither_noise_nor_gap_and_say_why():
    advice = made_up_advice(sizes=(64, 256, 1024))

    sentences = said(advice)

    assert sentences["noise"].startswith("How much the validation accuracy jumps is not known.")
    assert sentences["gap"].startswith("No training shows both the train and the held-out accuracy")


def test_noise_is_never_taken_of_a_training_that_still_improves():
    study, slow = advice_study(ADVICE), made_up_curves(rate=0.05)
    still = tuple(
        made_up_record(trial=r.trial, curves=slow, epochs=16)
        for r in study.records
        if r.final("train", "accuracy") is not None
    )

    found = effects(ADVICE, replace(study, records=still))

    assert [effect.batch_size for effect in found.flat] == [64, 1024]
    assert found.noisy == ()


def test_without_a_target_the_epochs_are_those_to_the_plateau():
    quality = replace(ADVICE, objective="quality", target=None)
    study = advice_study(ADVICE)
    whole = tuple(r for r in study.records if r.final("train", "accuracy") is not None)
    # What is left to gain after k epochs, 0.88 exp(-2 k), is below 0.002 for the first time.
    epochs = math.ceil(math.log(0.88 / 0.002) / 2)

    assert said(quality, replace(study, records=whole))["epochs"] == (
        f"{epochs} epochs are enough for batch sizes 64 and 1024."
    )
    assert effects(quality).to_target == ()


def test_a_study_that_shows_nothing_says_so_once():
    advice = nothing_reached_advice()
    sentences = said(advice)

    assert untold_sentences(effects(advice), sentences, ()) == [
        "The runs of this study ended too early to show it."
    ]


def test_what_has_a_picture_is_not_said_again_below():
    advice = made_up_advice(sizes=(64, 256, 1024))
    sentences = said(advice)

    assert untold_sentences(effects(advice), sentences, {"epochs"}) == [
        sentences["noise"],
        sentences["gap"],
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_answer_has_a_sentence_on_each_effect(kind):
    sentences = said(KINDS[kind]())

    assert list(sentences) == ["epochs", "noise", "gap"]
    assert all(sentence.endswith(".") for sentence in sentences.values())


def test_the_target_in_the_sentence_is_the_answers_own():
    easier = replace(ADVICE, target=replace(TARGET, value=0.9))

    assert "≥ 0.9:" in said(easier)["epochs"]
