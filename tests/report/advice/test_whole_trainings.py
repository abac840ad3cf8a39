"""Which trainings of an advice are whole, and which of them stand for a batch size."""

from __future__ import annotations

from dataclasses import replace

from tests.reference.made_up import made_up_curves, made_up_record, made_up_trial
from tests.reference.made_up_advice import (
    advice_study,
    cooled_advice,
    made_up_advice,
    with_endings,
)

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.records.trial import Status, TrialRecord
from batchlab.report.advice_effects import whole_trainings

ADVICE = replace(made_up_advice(sizes=(64, 256, 1024)), tried=())


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
    return replace(advice_study(ADVICE), records=records)


def found(
    advice: Advice, study: Study, *, cool_down: float = 0.0
) -> dict[int, tuple[TrialRecord, ...]]:
    whole = whole_trainings(advice, study, cool_down=cool_down)
    return {records[0].trial.batch_size: records for records in whole}


def test_whole_is_what_ended_well_and_was_evaluated_on_train_data_there():
    study = study_of(
        training(64),
        training(256, is_whole=False),
        training(1024, status=Status.DIVERGED),
        training(1024, seed=1, status=Status.TIMEOUT),
    )

    assert list(found(ADVICE, study)) == [64]


def test_where_the_length_was_fixed_the_longest_are_whole():
    quality = replace(ADVICE, objective="quality", target=None)
    study = study_of(
        training(64, epochs=8, is_whole=False), training(256, epochs=7, is_whole=False)
    )

    assert list(found(quality, study)) == [64]


def test_a_batch_size_is_shown_at_the_rate_that_the_answer_has_for_it():
    rate = ADVICE.candidate(256).learning_rate
    study = study_of(
        training(rate=rate, end=0.9), training(rate=2 * rate, end=0.97), training(1024)
    )

    assert found(ADVICE, study)[256][0].trial.learning_rate == rate


def test_else_at_the_rate_that_ends_best_on_validation_data():
    rates = {0.3: 0.96, 0.4: 0.98, 0.5: 0.97}
    study = study_of(*(training(rate=rate, end=end) for rate, end in rates.items()))

    assert found(ADVICE, study)[256][0].trial.learning_rate == 0.4


def test_only_the_seeds_count_on_which_trainings_were_compared():
    advice = with_endings(ADVICE)
    study = study_of(*(training(rate=0.3, seed=seed) for seed in (0, 80, 81)))

    assert [r.trial.seed for r in found(advice, study)[256]] == [80, 81]


def test_other_seeds_count_where_none_of_those_was_trained():
    study = study_of(training(rate=0.3, seed=0))

    assert [r.trial.seed for r in found(with_endings(ADVICE), study)[256]] == [0]


def test_trainings_of_one_batch_size_are_equally_long():
    study = study_of(*(training(seed=seed, epochs=n) for seed, n in enumerate((4, 6, 4))))

    assert [r.trial.seed for r in found(ADVICE, study)[256]] == [0, 2]


def test_trainings_with_a_cool_down_are_not_mixed_with_those_at_a_constant_rate():
    advice = cooled_advice()
    study = advice_study(advice)

    for cool_down in (0.0, 0.2):
        for each in found(advice, study, cool_down=cool_down).values():
            assert {r.trial.cool_down for r in each} == {cool_down}
