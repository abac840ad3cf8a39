"""What says something of generalization compares runs of similar training fit only."""

import pytest
from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.report.sweep_claims import claim_sentences
from batchlab.report.sweep_evidence import Evidence, training_fit

CLAIMS = ("Larger batches generalize worse", "Larger batches overfit more")


def study_of(levels, *, seeds=2, **study):
    """Batch sizes with (train, held-out) levels, each seed 0.0005 off."""

    def curves(batch_size, rate, seed):
        train, held_out = levels[batch_size]
        off = 0.0005 * seed
        return made_up_curves(
            train=train + off, validation=held_out + off, test=held_out + off, rate=2.0
        )

    return made_up_study(batch_sizes=tuple(levels), seeds=seeds, curves=curves, **study)


def said(study):
    found = claim_sentences(Evidence.of(study))
    return {claim.topic: claim for claim in found if claim.topic in CLAIMS}


@pytest.mark.parametrize("seeds", [1, 2, 4])
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_full_batch_at_13_percent_proves_nothing_about_generalization(claim, seeds):
    found = said(study_of({64: (0.97, 0.9705), 4096: (0.13, 0.13)}, seeds=seeds))

    assert found[claim].verdict == "not_tested"
    why = found[CLAIMS[0]].text
    assert why.startswith("Some have trained further than others: in equal epochs (20 each)")
    assert "at batch size 64, but 0.13" in why
    assert "more than 0.0100 apart" in why
    assert found[CLAIMS[1]].text == "For the same reason as the one above."


def test_batch_sizes_of_unlike_fit_are_left_out_and_the_others_compared():
    study = study_of({64: (0.99, 0.97), 1024: (0.988, 0.95), 4096: (0.13, 0.13)})

    found = said(study)[CLAIMS[0]]

    assert found.verdict == "held"
    assert "0.9702 at batch size 64 and 0.9502 at batch size 1024" in found.text
    assert "Left out: full batch, whose training accuracy is more than 0.0100 off" in found.text
    assert found.text.endswith(".")


def test_like_fits_leave_nobody_out():
    found = said(study_of({64: (0.99, 0.97), 1024: (0.988, 0.95)}))[CLAIMS[0]]

    assert found.verdict == "held"
    assert "Left out" not in found.text


@pytest.mark.parametrize(("apart", "alike"), [(0.009, 2), (0.011, 1)])
def test_the_margin_is_0_01_of_an_accuracy(apart, alike):
    fit = training_fit(Evidence.of(study_of({64: (0.99, 0.97), 1024: (0.99 - apart, 0.95)})))

    assert len(fit.alike) == alike
    assert len(fit.others) == 2 - alike


def test_the_margin_of_an_accuracy_in_percent_is_1_of_them():
    levels = {64: (0.99, 0.97), 1024: (0.981, 0.95), 4096: (0.97, 0.95)}

    def curves(batch_size, rate, seed):
        train, held_out = levels[batch_size]
        known = made_up_curves(train=train, validation=held_out, test=held_out, rate=2.0)
        return {key: lambda epoch, curve=curve: 100 * curve(epoch) + 0.01 * seed
                for key, curve in known.items()}  # fmt: skip

    study = made_up_study(batch_sizes=tuple(levels), seeds=2, curves=curves)

    assert [cell.batch_size for cell in training_fit(Evidence.of(study)).alike] == [64, 1024]
    assert said(study)[CLAIMS[0]].verdict == "held"


def test_a_falling_metric_has_its_margin_from_the_held_out_level():
    def fit(levels):
        return training_fit(Evidence.of(study_of(levels, metrics=(("loss", "lower"),))))

    # Held-out losses of 0.5 make a margin of 0.025; a train loss is 2.5 times what it lacks of 1.
    near = fit({64: (1 - 0.04, 0.8), 1024: (1 - 0.048, 0.8)})
    far = fit({64: (1 - 0.04, 0.8), 1024: (1 - 0.053, 0.8)})

    assert len(near.alike) == 2
    assert [cell.batch_size for cell in far.alike] == [64]


def test_fits_that_are_all_as_good_as_untrained_test_nothing():
    found = said(study_of({64: (0.11, 0.11), 1024: (0.105, 0.105)}, seeds=4))[CLAIMS[0]]

    assert found.verdict == "not_tested"
    assert "hardly better than before training" in found.text


def test_without_train_scores_nothing_is_tested():
    def curves(batch_size, rate, seed):
        known = made_up_curves(validation=0.97 + 0.001 * seed)
        return {key: curve for key, curve in known.items() if key[0] != "train"}

    found = said(made_up_study(seeds=2, curves=curves))

    assert {sentence.verdict for sentence in found.values()} == {"not_tested"}
    assert "No training metric was measured" in found[CLAIMS[0]].text


def test_claims_that_are_not_about_generalization_are_tested_all_the_same():
    study = study_of({64: (0.97, 0.9705), 4096: (0.13, 0.13)})

    claims = claim_sentences(Evidence.of(study))
    (found,) = (s for s in claims if s.topic == "Full batch converges better")

    assert found.verdict == "did_not_hold"
