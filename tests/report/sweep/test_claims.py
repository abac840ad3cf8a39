"""The claims follow the numbers: reversed stores reverse them."""

import re

import pytest
from tests.reference.made_up import made_up_curves, made_up_study
from tests.reference.said_of_sweep import (
    BETTER,
    LEVEL,
    SIZES,
    WORSE,
    by_size,
    claims,
    leader,
    race,
    text,
)

from batchlab.report.sweep_claims import claim_sentences, conclusion
from batchlab.report.sweep_evidence import Evidence, races


def full_batch_study(rates):
    return made_up_study(
        batch_sizes=tuple(rates),
        seeds=3,
        curves=lambda b, r, seed: made_up_curves(rate=rates[b] + 0.001 * seed),
        evaluations_per_epoch=8,
        epochs=10,
        step_s=lambda b: 1e-6 * b,
    )


@pytest.mark.slow
def test_larger_batches_that_generalize_worse_are_called_so():
    study = made_up_study(seeds=4, curves=by_size(WORSE))

    assert claims(study)["Larger batches generalize worse"] == "held"
    assert claims(study)["Larger batches overfit more"] == "held"
    size = re.search(r"a difference of ([\d.]+)", text(study, "Larger batches generalize worse"))
    assert float(size[1]) == pytest.approx(0.02, abs=4 * 0.0005 * 2**0.5 / 4**0.5)


@pytest.mark.slow
def test_the_reversed_store_reverses_the_sentences():
    study = made_up_study(seeds=4, curves=by_size(BETTER))

    assert claims(study)["Larger batches generalize worse"] == "did_not_hold"
    assert "the reverse" in text(study, "Larger batches generalize worse")
    assert claims(study)["Larger batches overfit more"] == "did_not_hold"
    assert "the reverse" in text(study, "Larger batches overfit more")


@pytest.mark.slow
def test_what_these_seeds_do_not_tell_apart_is_not_called_the_same():
    study = made_up_study(seeds=3, curves=by_size(LEVEL, scatter=0.01))

    assert claims(study)["Larger batches generalize worse"] == "cannot_tell"
    assert "too close for these seeds to tell" in text(study, "Larger batches generalize worse")
    found = race(study, "epochs")
    assert {other.comparison.outcome for other in found.others} == {"cannot_tell"}
    assert found.rivals == tuple(sorted({*SIZES} - {found.leader.batch_size}))


@pytest.mark.slow
def test_0_9705_against_0_9371_with_ranges_of_0_002_is_never_no_difference():
    def curves(batch_size, rate, seed):
        level = {64: 0.9705, 256: 0.958, 1024: 0.9371}[batch_size] + 0.001 * (2 * seed - 1)
        return made_up_curves(train=0.99, validation=level, test=level, rate=2.0)

    study = made_up_study(seeds=2, curves=curves)

    assert claims(study)["Larger batches generalize worse"] == "held"
    assert leader(study, "epochs") == 64
    assert {other.comparison.outcome for other in race(study, "epochs").others} == {"better"}
    assert not any("no difference" in found.text for found in claim_sentences(Evidence.of(study)))


@pytest.mark.slow
def test_an_interval_within_the_tolerance_is_no_difference_that_matters():
    study = made_up_study(seeds=6, curves=by_size(LEVEL, scatter=0.0002))

    assert claims(study)["Larger batches generalize worse"] == "did_not_hold"
    assert "no difference that matters" in text(study, "Larger batches generalize worse")


@pytest.mark.slow
def test_a_trend_that_turns_in_between_did_not_hold():
    turned = WORSE | {64: WORSE[256], 256: WORSE[64]}
    study = made_up_study(seeds=4, curves=by_size(turned))

    assert claims(study)["Larger batches generalize worse"] == "did_not_hold"
    assert "from batch size 64 to batch size 256" in text(study, "Larger batches generalize worse")


def test_one_seed_claims_nothing():
    study = made_up_study(seeds=1, curves=by_size(WORSE))

    assert set(claims(study).values()) == {"cannot_tell"}
    assert "One seed: this may be chance" in text(study, "Larger batches generalize worse")
    assert "1 seed each" in conclusion(study).lead
    assert leader(study, "epochs") is None


@pytest.mark.slow
def test_a_falling_metric_is_compared_by_its_own_direction():
    def study_of(levels):
        return made_up_study(
            seeds=4,
            curves=by_size(levels),
            metrics=(("loss", "lower"),),
        )

    worse, better = claims(study_of(WORSE)), claims(study_of(BETTER))

    assert leader(study_of(WORSE), "epochs") == 64
    assert leader(study_of(BETTER), "epochs") == 1024

    assert worse["Larger batches generalize worse"] == "held"
    assert worse["Larger batches overfit more"] == "held"
    assert better["Larger batches generalize worse"] == "did_not_hold"
    assert better["Larger batches overfit more"] == "did_not_hold"


@pytest.mark.slow
def test_less_training_is_named_where_training_fell_behind_too():
    behind = {64: (0.99, 0.97, 0.97), 256: (0.987, 0.965, 0.965), 1024: (0.984, 0.96, 0.96)}
    smaller_gap = {64: (0.99, 0.95, 0.95), 256: (0.987, 0.96, 0.96), 1024: (0.984, 0.97, 0.97)}
    study = made_up_study(seeds=4, curves=by_size(behind))

    assert "which is part of this" in text(study, "Larger batches generalize worse")
    other = made_up_study(seeds=4, curves=by_size(smaller_gap))
    assert "less training makes the gap smaller" in text(other, "Larger batches overfit more")


def test_one_batch_size_makes_no_comparison():
    study = made_up_study(batch_sizes=(64,), seeds=3)

    assert claims(study) == {}
    assert races(Evidence.of(study)) == ()
    assert conclusion(study).lead == "Trained at learning rate 0.01, 3 seeds."


@pytest.mark.slow
def test_a_good_start_is_judged_against_the_sizes_outside():
    sizes = {16: 0.97, 64: 0.97, 1024: 0.95}
    good = by_size({size: (0.99, level, level) for size, level in sizes.items()}, scatter=0.0001)
    bad = by_size(
        {16: (0.99, 0.99, 0.99), 64: (0.99, 0.95, 0.95), 1024: (0.99, 0.95, 0.95)}, scatter=0.0001
    )

    def study_of(curves):
        return made_up_study(
            batch_sizes=tuple(sizes),
            seeds=4,
            curves=curves,
            step_s=lambda b: b * 1e-6,
        )

    assert claims(study_of(good))["32 to 128 is a good start"] == "held"
    assert claims(study_of(bad))["32 to 128 is a good start"] == "did_not_hold"


def test_without_a_size_in_the_range_the_good_start_cannot_be_told():
    study = made_up_study(batch_sizes=(256, 1024), seeds=3)

    assert claims(study)["32 to 128 is a good start"] == "cannot_tell"


def test_full_batch_that_is_slower_per_epoch_does_not_converge_better():
    study = full_batch_study({64: 0.5, 4096: 0.1})

    assert claims(study)["Full batch converges better"] == "did_not_hold"
    assert text(study, "Full batch converges better").endswith(
        "In equal steps, full batch is ahead of some other size."
    )


def test_full_batch_that_wins_under_every_budget_converges_better():
    study = full_batch_study({64: 0.1, 4096: 0.3})

    assert claims(study)["Full batch converges better"] == "held"


def test_full_batch_that_is_only_as_good_does_not_converge_better():
    study = made_up_study(
        batch_sizes=(64, 4096),
        seeds=6,
        curves=by_size({64: (0.99, 0.97, 0.97), 4096: (0.99, 0.97, 0.97)}, scatter=0.0001),
        evaluations_per_epoch=1,
        step_s=lambda b: 1e-3 * b,
    )

    assert {other.comparison.outcome for other in race(study, "epochs").others} == {"same"}
    assert claims(study)["Full batch converges better"] == "did_not_hold"
    assert "is no better than batch size 64" in text(study, "Full batch converges better")


@pytest.mark.slow
def test_without_validation_data_the_plateau_cannot_be_told_and_test_data_describe():
    study = made_up_study(seeds=4, n_validation=0, curves=by_size(WORSE))

    assert "Test data must not decide" in text(study, "plateau")
    assert claims(study)["Larger batches generalize worse"] == "held"
    assert "test accuracy" in conclusion(study).headline


def test_without_held_out_data_generalization_cannot_be_told():
    study = made_up_study(seeds=4, n_validation=0, n_test=0, curves=by_size(WORSE))

    assert claims(study)["Larger batches generalize worse"] == "cannot_tell"
    assert "training accuracy" in conclusion(study).headline
