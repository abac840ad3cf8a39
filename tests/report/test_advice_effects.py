"""What batch size does, as far as the runs of an advice show it."""

from __future__ import annotations

import math
from dataclasses import replace

from tests.reference.made_up import made_up_curves, made_up_record, made_up_trial
from tests.reference.made_up_advice import (
    advice_study,
    made_up_advice,
    made_up_gap,
    made_up_jump,
    nothing_reached_advice,
    tried,
    with_endings,
)

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.records.trial import Status, TrialRecord
from batchlab.report.advice_effects import (
    Effects,
    ToTarget,
    compared,
    effect_sentences,
    effects_of,
    to_target_of,
    untold_sentences,
    whole_trainings,
)

ADVICE = with_endings(made_up_advice(sizes=(64, 256, 1024)))


def effects(advice: Advice, study: Study | None = None) -> Effects:
    return effects_of(advice, study or advice_study(advice))


def said(advice: Advice, study: Study | None = None) -> dict[str, str]:
    study = study or advice_study(advice)
    return effect_sentences(advice, study, effects(advice, study))


def test_jumps_are_those_of_the_last_half_of_whole_trainings():
    # Up and down by j each epoch, second differences are 4 j, and their scale is 4 j / sqrt(6).
    low, high = (4 * made_up_jump(size) / math.sqrt(6) for size in (64, 1024))

    assert said(ADVICE)["noise"] == (
        f"From one epoch to the next the validation accuracy jumps by about {low:.2g} "
        f"(3 runs) at batch size 64 and {high:.2g} (3 runs) at batch size 1024."
    )


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


def only_yours(advice: Advice) -> Study:
    """The study as if nothing but the reference had been trained to its end."""
    study = advice_study(advice)
    kept = [
        r
        for r in study.records
        if r.last("train", "accuracy") is None or r.trial.batch_size == advice.reference.batch_size
    ]
    return replace(study, records=tuple(kept))


def test_what_one_batch_size_alone_shows_is_told_and_not_compared():
    study = only_yours(ADVICE)
    found, sentences = effects(ADVICE, study), said(ADVICE, study)

    assert [effect.batch_size for effect in found.ends] == [64]
    assert compared(found.ends) == compared(found.noisy) == ()
    assert f"{made_up_gap(64):.4f} (3 runs) at batch size 64. Of other" in sentences["gap"]


def test_a_study_that_shows_nothing_says_so_once():
    advice = nothing_reached_advice()

    assert len(said(advice)) == 3
    assert len(untold_sentences(effects(advice), said(advice), ())) == 1
    assert len(untold_sentences(effects(ADVICE), said(ADVICE), ("gap",))) == 2


def test_noise_is_never_taken_of_a_training_that_still_improves():
    study, slow = advice_study(ADVICE), made_up_curves(rate=0.05)
    still = tuple(
        made_up_record(trial=r.trial, curves=slow, epochs=16)
        for r in study.records
        if r.last("train", "accuracy") is not None
    )

    found = effects(ADVICE, replace(study, records=still))

    assert [effect.batch_size for effect in found.flat] == [64, 1024]
    assert found.noisy == ()


def test_without_a_target_the_epochs_are_those_to_the_plateau():
    quality = replace(ADVICE, objective="quality", target=None)
    study = advice_study(ADVICE)
    whole = tuple(r for r in study.records if r.last("train", "accuracy") is not None)
    # What is left to gain after k epochs, 0.88 exp(-2 k), is below 0.002 for the first time.
    epochs = math.ceil(math.log(0.88 / 0.002) / 2)

    assert said(quality, replace(study, records=whole))["epochs"] == (
        f"{epochs} epochs are enough for batch sizes 64 and 1024."
    )
    assert effects(quality).to_target == ()


def to_target(advice: Advice) -> dict[int, ToTarget]:
    return {each.batch_size: each for each in to_target_of(advice, advice_study(advice))}


def test_the_epochs_to_the_target_are_those_of_the_answer():
    advice = made_up_advice(sizes=(64, 256))
    candidate = advice.candidate(256)
    runs = tried(256, rate=0.2, met=90.0), tried(256, rate=0.3, met=50.0), tried(256, rate=0.2)
    candidates = (advice.candidates[0], replace(candidate, learning_rate=0.2))

    found = to_target(replace(advice, candidates=candidates, tried=runs))

    assert list(found) == [256]  # of the other there is no run
    assert (found[256].met, found[256].missed) == ((90.0,), (100,))
    assert found[256].epochs == candidate.steps_to_target.times(1 / 16)
    assert found[256].estimate_of("time_to_target_s") == candidate.time_to_target_s


def test_without_a_rate_nothing_is_known_of_a_batch_size():
    advice = made_up_advice(sizes=(64, 256))
    failed = replace(advice.candidate(256), learning_rate=None)

    assert list(to_target(replace(advice, candidates=(advice.candidates[0], failed)))) == [64]


def test_where_none_met_it_the_runs_are_bounds():
    found = to_target(nothing_reached_advice())

    assert {each.epochs.estimate for each in found.values()} == {None}
    assert all(each.missed and not each.met for each in found.values())


WITHOUT_RUNS = replace(made_up_advice(sizes=(64, 256, 1024)), tried=())


def training(
    size: int = 256,
    *,
    rate: float = 0.1,
    seed: int = 0,
    epochs: int = 4,
    end: float = 0.97,
    status: Status = Status.OK,
    is_whole: bool = True,
) -> TrialRecord:
    """One with train data at its end, or one that a target or a race has ended."""
    curves = made_up_curves(validation=end, rate=9.0)
    if not is_whole:
        curves = {name: curve for name, curve in curves.items() if name[0] == "validation"}
    trial = made_up_trial(batch_size=size, learning_rate=rate, seed=seed)
    return made_up_record(trial=trial, curves=curves, epochs=epochs, status=status)


def study_of(*records: TrialRecord) -> Study:
    return replace(advice_study(WITHOUT_RUNS), records=records)


def found(advice: Advice, study: Study) -> dict[int, tuple[TrialRecord, ...]]:
    return {cell.batch_size: cell.records for cell in whole_trainings(advice, study)}


def test_whole_is_what_ended_well_and_was_evaluated_on_train_data_there():
    study = study_of(
        training(64),
        training(256, is_whole=False),
        training(1024, status=Status.DIVERGED),
        training(1024, seed=1, status=Status.TIMEOUT),
    )

    assert list(found(WITHOUT_RUNS, study)) == [64]


def test_where_the_length_was_fixed_the_longest_are_whole():
    quality = replace(WITHOUT_RUNS, objective="quality", target=None)
    lengths = {64: 8, 256: 7}
    study = study_of(*(training(size, epochs=n, is_whole=False) for size, n in lengths.items()))

    assert list(found(quality, study)) == [64]


def test_the_answers_rate_counts_first_and_else_the_one_that_ends_best_on_validation_data():
    rate = WITHOUT_RUNS.candidate(256).learning_rate
    ends = {rate: 0.9, 2 * rate: 0.97}
    known = study_of(*(training(rate=each, end=end) for each, end in ends.items()))
    unknown = study_of(*(training(1024, rate=each, end=1 - each) for each in (0.3, 0.2, 0.4)))

    assert found(WITHOUT_RUNS, known)[256][0].trial.learning_rate == rate
    assert found(WITHOUT_RUNS, unknown)[1024][0].trial.learning_rate == 0.2


def test_trainings_of_a_batch_size_are_equally_long_and_on_the_seeds_that_were_compared():
    lengths = study_of(*(training(seed=seed, epochs=n) for seed, n in enumerate((4, 6, 4))))
    seeds = study_of(*(training(rate=0.3, seed=seed) for seed in (0, 80, 81)))

    assert [r.trial.seed for r in found(WITHOUT_RUNS, lengths)[256]] == [0, 2]
    assert [r.trial.seed for r in found(with_endings(WITHOUT_RUNS), seeds)[256]] == [80, 81]
