"""Batch sizes of a sweep held against each other: budgets, differences, leaders and claims."""

import math
from dataclasses import replace
from itertools import product

import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_record, made_up_study
from tests.reference.said_of_sweep import BETTER, LEVEL, WORSE, by_size, claims, text, texts
from tests.reference.shown import rows_of
from tests.reference.simulated_question import knee, question

from batchlab.advice.level import end_so_far
from batchlab.app.compare import Side
from batchlab.belief.cells import cells, chosen_cells, deciding_split, final_gap, held_out_split
from batchlab.belief.equal_budget import equal_budget
from batchlab.belief.evidence import Evidence
from batchlab.belief.final_value import final_of
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.report.cells import budget_text, curve_figure
from batchlab.report.sayings import cells_alike_in_training
from batchlab.report.sweep_answer import conclusion, trial_documents

GENERALIZE = "Larger batches generalize worse"
OVERFIT = "Larger batches overfit more"
GOOD_START = "32 to 128 is a good start"
FULL_BATCH = "Full batch converges better"

# ---- equal budgets


def test_the_budget_is_the_largest_that_all_have_spent_and_is_read_between_two_evaluations():
    line = {("validation", "accuracy"): lambda epoch: 0.01 * epoch}
    settings = {"epochs": 10, "step_s": lambda size: 0.01, "curves": lambda *_: line}
    study = made_up_study(batch_sizes=(64, 1024), evaluations_per_epoch=2, **settings)
    words = {
        "epochs": (10.0, "equal epochs (10 each)", (0.1, 0.1)),
        # 10 epochs of 4 steps at batch size 1024.
        "steps": (40.0, "equal steps (40 each)", (0.01 * 40 / 64, 0.1)),
        "time": (0.4, "equal time (400 ms each)", (0.01 * 40 / 64, 0.1)),
    }
    for name, (amount, said, values) in words.items():
        budget = equal_budget(study, study.records, name)
        assert (budget.amount, budget_text(budget)) == (pytest.approx(amount), said)
        assert [budget.value(r, "validation") for r in study.records] == pytest.approx(values)
        assert budget.value(study.records[0], "test") is None
    diverged = {(1024, 0.01, 1): (Status.DIVERGED, "loss grew", 2)}
    bad = made_up_study(batch_sizes=(64, 1024), seeds=2, endings=diverged, **settings)
    untimed = made_up_study(timed=False)
    assert Evidence.of(bad).budgets[0].amount == 10
    assert equal_budget(untimed, untimed.records, "time") is None


def noisy(size, *_):
    wobble = lambda e: 0.9 - 0.8 * math.exp(-e / 4) + 0.01 * math.sin(37 * e + size)  # noqa: E731
    return {**made_up_curves(), ("validation", "accuracy"): wobble}


@pytest.mark.parametrize("notes", [(), (Reason.of("stopped_early", epochs=20, best=15),)])
def test_a_sweep_reads_the_ends_that_an_advice_reads(notes):
    plain = made_up_study(curves=noisy, evaluations_per_epoch=4).records
    records = tuple(replace(record, notes=notes) for record in plain)
    study = replace(made_up_study(), records=records)
    asked = question(knee(64), budget_s=100.0, target=None)

    ends = [end_so_far(asked, record).value for record in records]

    assert (ends != [end_so_far(asked, record).value for record in plain]) == bool(notes)
    evidence = Evidence.of(study)
    assert [cell.final(study, "validation") for cell in cells(study)] == [(end,) for end in ends]
    assert [found.final["validation"]["accuracy"] for found in trial_documents(study)] == ends
    assert [end for (end,) in Side(name="a", study=study).ends.values()] == ends
    for measured in (evidence.ends("validation"), evidence.ends("validation", evidence.budgets[0])):
        assert [*measured.means.cells] == [(pytest.approx(end),) for end in ends]


def test_less_than_a_whole_training_ends_on_the_line_until_there():
    study = made_up_study(batch_sizes=(64, 1024), curves=noisy, evaluations_per_epoch=16)
    budget, record = equal_budget(study, study.records, "steps"), study.records[0]

    shorter = final_of(record, "validation", "accuracy", "higher", steps=budget.amount)
    assert budget.end(record, "validation") == pytest.approx(shorter)
    assert budget.value(record, "validation") != pytest.approx(shorter)


# ---- who leads


def test_a_size_whose_own_interval_excludes_the_best_is_not_called_as_good():
    ends = {16: 0.9748, 64: 0.9733, 256: 0.97, 1024: 0.9477}
    levels = {size: (0.99, end, end) for size, end in ends.items()}
    evidence = Evidence.of(study_of(levels, scatter=0.01, seeds=3))

    first, *_, last = evidence.cells
    assert evidence.ends("validation").difference(first, last).low > 0
    assert evidence.by_budget["epochs"].rivals == (64, 256)


@pytest.mark.parametrize("split", ["test", "train"])
def test_what_was_not_measured_is_not_called_trained_apart(split):
    """A script may tell its test metric at its own end only, beyond the equal epochs."""

    def curves(batch_size, rate, seed):
        known = by_size(LEVEL)(batch_size, rate, seed)
        return {key: curve for key, curve in known.items() if batch_size > 64 or key[0] != split}

    found = made_up_study(batch_sizes=(64, 256), curves=curves)

    assert claims(found)[GENERALIZE] == claims(found)[OVERFIT] == "not_tested"
    assert text(found, GENERALIZE).startswith(f"Not measured: {split} accuracy")


# ---- the claims: reversed stores reverse them


def study_of(levels, *, scatter=0.0005, rate=1.0, seeds=4, **study):
    curves = by_size(levels, scatter=scatter, rate=rate)
    return made_up_study(batch_sizes=tuple(levels), seeds=seeds, curves=curves, **study)


LOSS = (("loss", "lower"),)
FAR_APART = {64: (0.99, 0.9705, 0.9705), 256: WORSE[256], 1024: (0.99, 0.9371, 0.9371)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "claim", "verdict"),
    [
        # A difference of 0.03 with ranges of 0.002 was once called none.
        (lambda: study_of(FAR_APART, seeds=2, scatter=0.001), GENERALIZE, "held"),
        (lambda: study_of(WORSE, metrics=LOSS), GENERALIZE, "held"),
        (lambda: study_of(WORSE, metrics=LOSS), OVERFIT, "held"),
        (lambda: study_of(BETTER, metrics=LOSS), OVERFIT, "did_not_hold"),
        (lambda: study_of(WORSE, n_validation=0), GENERALIZE, "held"),
        (lambda: study_of(WORSE, n_validation=0, n_test=0), GENERALIZE, "cannot_tell"),
        (lambda: made_up_study(batch_sizes=(256, 1024), seeds=3), GOOD_START, "not_tested"),
    ],
)
def test_a_claim_follows_the_numbers(study, claim, verdict):
    assert claims(study())[claim] == verdict


# ---- what says something of generalization compares runs of similar training fit only


# Held-out losses of 0.5 make a margin of 0.025; a train loss is 2.5 times what it lacks of 1.
@pytest.mark.parametrize(
    ("levels", "alike", "verdict", "settings"),
    [
        ({1024: (0.981, 0.95)}, [64, 1024], "held", {}),
        ({1024: (0.979, 0.95)}, [64], "not_tested", {}),
        ({1024: (0.988, 0.95), 4096: (0.13, 0.13)}, [64, 1024], "held", {}),
        ({4096: (0.13, 0.13)}, [64], "not_tested", {"seeds": 1}),
        ({4096: (0.13, 0.13)}, [64], "not_tested", {"seeds": 4}),
        ({64: (0.96, 0.8), 1024: (0.952, 0.8)}, [64, 1024], "did_not_hold", {"metrics": LOSS}),
        ({64: (0.96, 0.8), 1024: (0.947, 0.8)}, [64], "not_tested", {"metrics": LOSS}),
    ],
)
def test_those_within_0_01_of_an_accuracy_or_5_percent_of_a_held_out_loss_are_compared(
    levels, alike, verdict, settings
):
    """The levels are those of training and of held-out data."""
    known = {size: (*ends, ends[-1]) for size, ends in ({64: (0.99, 0.97)} | levels).items()}
    study = study_of(known, scatter=0.0003, rate=2.0, **({"seeds": 2} | settings))

    verdicts = claims(study)

    assert [c.batch_size for c in cells_alike_in_training(Evidence.of(study))] == alike
    assert verdicts[GENERALIZE] == verdict
    assert (verdicts[OVERFIT] == "not_tested") == (len(alike) < 2)
    assert 4096 not in levels or verdicts[FULL_BATCH] == "did_not_hold"


# ---- what else is said


@pytest.mark.parametrize(("rule", "told"), [("none", "not tuned"), ("sqrt", "rule sqrt")])
def test_the_rule_that_set_the_rates_is_named_and_a_best_rate_at_no_edge_is_finished(rule, told):
    study = made_up_study(
        learning_rates=(0.01, 0.1, 1.0),
        curves=lambda b, rate, seed: made_up_curves(validation=0.97 if rate == 0.1 else 0.9),
        epochs=5,
    )
    records = []
    for record in study.records[::3]:
        by_rule = {"learning_rate": 0.01 * record.trial.batch_size, "scaling_rule": rule}
        records.append(replace(record, trial=replace(record.trial, **by_rule)))

    assert texts(study, "learning rate") == []
    assert told in conclusion(replace(study, records=tuple(records)))[1]


# ---- the trials of one batch size at one learning rate: their means, gaps, curves and rows


def test_rates_are_never_compared_on_test_data_and_the_gap_is_taken_to_it_where_it_is():
    both, no_test = ("validation", "test"), ("validation", "validation")
    splits = {(10, 10): both, (10, 0): no_test, (0, 10): ("train", "test"), (0, 0): ("train", None)}
    for (n_validation, n_test), expected in splits.items():
        study = made_up_study(n_validation=n_validation, n_test=n_test, epochs=1)
        assert (deciding_split(study), held_out_split(study)) == expected


def test_a_gap_is_that_of_one_model_and_unknown_where_the_last_evaluation_lacks_a_split():
    record = made_up_record(
        curves={
            ("train", "accuracy"): approach(0.9),
            ("test", "accuracy"): lambda epoch: 0.5 if epoch <= 2 else None,
        },
        epochs=3,
    )
    stopped_at_2 = replace(record, evaluations=record.evaluations[:3])
    train_at_2 = record.evaluations[2].score("train", "accuracy")

    assert final_gap(stopped_at_2, "test", "accuracy") == pytest.approx(train_at_2 - 0.5)
    assert record.last("test", "accuracy") is None
    assert final_gap(record, "test", "accuracy") is None


@pytest.mark.parametrize("metric", [("accuracy", "higher"), ("loss", "lower")])
@pytest.mark.parametrize("best_rate", [0.01, 0.1])
def test_the_chosen_rate_is_the_best_on_validation_at_which_no_seed_diverged(best_rate, metric):
    """Whatever the test set says."""

    def curves(batch_size: int, learning_rate: float, seed: int):
        lost = 0.1 * (learning_rate != best_rate)
        return made_up_curves(validation=0.9 - lost, test=0.5 + lost)

    made = {"learning_rates": (0.01, 0.1), "curves": curves, "metrics": [metric]}
    diverged = {(64, best_rate, 1): (Status.DIVERGED, "the loss grew", 3)}
    plain, one_less = made_up_study(**made), made_up_study(seeds=2, endings=diverged, **made)

    assert [cell.learning_rate for cell in chosen_cells(plain)] == [best_rate] * 3
    other = 0.11 - best_rate
    rates = [cell.learning_rate for cell in chosen_cells(one_less)]
    assert rates == pytest.approx([other, best_rate, best_rate])


def test_many_long_lines_are_thinned_to_what_a_page_can_hold():
    study = made_up_study(
        batch_sizes=[2**i for i in range(13)], epochs=20, evaluations_per_epoch=16
    )
    shown = list(product(("validation", "test"), ("accuracy", "loss")))

    figure = curve_figure(study, chosen_cells(study), shown, train_s=study.train_s)

    assert len(rows_of(figure)) <= 6_000
    # The axis is made for what comes after the first tenth.
    assert min(row["epoch"] for row in figure.panels[0].frame) == 2
    last = rows_of(figure, split="validation", metric="loss", batch_size=64)[-1]
    assert last["mean"] == pytest.approx(study.records[6].last("validation", "loss"))
