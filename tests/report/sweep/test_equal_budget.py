"""Equal budgets: the largest that all have spent, read off between evaluations."""

import pytest
from tests.reference.made_up import made_up_study

from batchlab.records.trial import Status
from batchlab.report.cells import cells
from batchlab.report.sweep_evidence import equal_budget


def straight(batch_size, learning_rate, seed):
    return {("validation", "accuracy"): lambda epoch: 0.01 * epoch}


def study_of(**settings):
    return made_up_study(batch_sizes=(64, 1024), curves=straight, **settings)


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("epochs", 10.0),
        ("steps", 40.0),  # 10 epochs of 4 steps at batch size 1024
        ("time", 0.4),
    ],
)
def test_the_budget_is_the_largest_that_all_have_spent(name, amount):
    study = study_of(epochs=10, step_s=lambda batch_size: 0.01)

    assert equal_budget(study, cells(study), name).amount == pytest.approx(amount)


def test_values_lie_on_the_line_between_two_evaluations():
    study = study_of(epochs=10, evaluations_per_epoch=2)
    budget = equal_budget(study, cells(study), "steps")

    small, large = (budget.value(r, "validation", "accuracy") for r in study.records)

    assert small == pytest.approx(0.01 * 40 / 64)
    assert large == pytest.approx(0.1)


def test_a_trial_that_ended_badly_does_not_shorten_the_budget():
    endings = {(1024, 0.01, 1): (Status.DIVERGED, "loss grew", 2)}
    study = study_of(epochs=10, seeds=2, endings=endings)
    budget = equal_budget(study, cells(study), "epochs")

    assert budget.amount == 10


def test_time_without_step_times_is_no_budget():
    study = study_of(timed=False)

    assert equal_budget(study, cells(study), "time") is None


def test_a_metric_that_was_not_measured_has_no_values():
    study = study_of()
    budget = equal_budget(study, cells(study), "epochs")

    assert budget.value(study.records[0], "test", "accuracy") is None


def test_budgets_are_named_with_their_amount():
    study = study_of(epochs=10, step_s=lambda batch_size: 0.01)

    words = [equal_budget(study, cells(study), name).words for name in ("steps", "time")]

    assert words == ["equal steps (40 each)", "equal time (400 ms each)"]
