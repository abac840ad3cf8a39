"""Does growing the batch pay: what is said of plans whose ends are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import pytest
from scipy.stats import t as student
from tests.reference.made_up import (
    made_up_record,
    made_up_study,
    made_up_timing,
    made_up_trial,
)

from batchlab import plans
from batchlab.records.study import MetricSummary, Study
from batchlab.records.trial import Status, Trial
from batchlab.report.cells import cells, figure_looks, of_constant_size
from batchlab.report.chart import plot
from batchlab.report.sweep_growth import (
    Growth,
    growth_conclusion,
    growth_document,
    growth_figures,
    growth_of,
)
from batchlab.report.sweep_page import html_page, sweep_document, text_report

SMALL, LARGE, EPOCHS, N = 64, 1024, 20, 4096
STEP_S = {64: 1e-3, 256: 2e-3, 1024: 4e-3}
CUTS = (0.4, 0.7, 0.9)
# Two seeds' luck, the same in every plan.
LUCK = (-0.01, 0.0, 0.01)

Ends = Mapping[tuple[str, str], float]  # by plan and what is equal, the mean end


def trial_of(name: str, *, epochs: float, seed: int, rate: float = 0.01) -> Trial:
    size = LARGE if name == "large" else SMALL
    trial = made_up_trial(batch_size=size, learning_rate=rate, seed=seed, n_train=N)
    if name in ("small", "large"):
        return trial
    cap = LARGE if name == "grow" else SMALL
    plan = plans.instead_of_decay(SMALL, CUTS, cap=cap, epochs=epochs, factor=4.0)
    return replace(trial, stages=plan.for_data(N).stages, micro_batch_size=cap)


def took_s(name: str, epochs: float) -> float:
    plan = trial_of(name, epochs=epochs, seed=0).plan
    return plan.train_s_at(plan.steps_in(epochs), STEP_S)


def plan_study(
    ends: Ends,
    *,
    wobble: Callable[[str, int], float] = lambda name, seed: 0.0,
    names: tuple[str, ...] = ("small", "large", "grow", "decay"),
    timed: bool = True,
    n_seeds: int = 3,
) -> Study:
    """Trainings as a sweep of plans leaves them: at equal examples, and longer for equal time.

    Accuracy is 0.5 in the first tenth of an epoch, 0.8 of small and 0.6 of large until a tenth of
    the run, then the mean end of the plan with its seed's luck and wobble.
    """
    records = []
    for name in names:
        lengths = {
            "epochs": EPOCHS,
            "time": round(EPOCHS * took_s("small", EPOCHS) / took_s(name, EPOCHS)),
        }
        if name in ("small", "decay"):
            del lengths["time"]
        if name == "large":  # the same trial, which went on
            del lengths["epochs"]
        for equal, epochs in lengths.items():
            for seed in range(n_seeds):

                def value(
                    epoch: float,
                    name: str = name,
                    equal: str = equal,
                    seed: int = seed,
                    epochs: int = epochs,
                ) -> float:
                    if epoch < 0.1 * epochs:
                        return 0.6 if name == "large" else 0.8
                    at = "epochs" if epoch <= EPOCHS and name == "large" else equal
                    known = ends.get((name, at), ends[name, "epochs"])
                    return known + LUCK[seed] + wobble(name, seed)

                curves: Any = {
                    ("train", "accuracy"): value,
                    ("validation", "accuracy"): value,
                }
                trial = trial_of(name, epochs=epochs, seed=seed)
                records.append(
                    made_up_record(
                        trial=trial, curves=curves, epochs=epochs, evaluations_per_epoch=4
                    )
                )
    made = made_up_study(batch_sizes=(), n_test=0, n_train=N)
    timings = tuple(made_up_timing(size, step_s=step_s) for size, step_s in STEP_S.items())
    return replace(made, records=tuple(records), timings=timings if timed else ())


def growth(study: Study) -> Growth:
    found = growth_of(study)
    assert found is not None
    return found


ALIKE: Ends = {
    ("small", "epochs"): 0.90,
    ("large", "epochs"): 0.85,
    ("large", "time"): 0.91,
    ("grow", "epochs"): 0.93,
    ("grow", "time"): 0.95,
    ("decay", "epochs"): 0.93,
}


def test_each_plan_is_read_where_the_budget_is_spent() -> None:
    found = growth(plan_study(ALIKE))

    means = {
        equal: {name: round(fmean(runs.values().values()), 6) for name, runs in of.items()}
        for equal, of in found.plans.items()
    }
    assert means == {
        "epochs": {"small": 0.90, "large": 0.85, "grow": 0.93, "decay": 0.93},
        "time": {"small": 0.90, "large": 0.91, "grow": 0.95, "decay": 0.93},
    }
    times = {name: runs.train_s for name, runs in found.plans["epochs"].items()}
    assert times["small"] == pytest.approx(EPOCHS * N / SMALL * 1e-3)
    assert times["large"] == pytest.approx(EPOCHS * N / LARGE * 4e-3)
    assert times["grow"] == pytest.approx(took_s("grow", EPOCHS))


def test_the_luck_of_a_seed_is_no_difference() -> None:
    """Without wobble each seed has the same difference, however far the seeds lie apart.

    It is known no better than to what shares of 1000 examples are rounded to.
    """
    least = growth(plan_study(ALIKE)).difference("time", "grow", "large").difference

    half = student.ppf(0.975, 2) * math.sqrt(2 / 12) / 1000 / math.sqrt(3)
    assert least.estimate == pytest.approx(0.04)
    assert least.low == pytest.approx(0.04 - half)


@pytest.mark.parametrize(("mean", "n_comparisons"), [(0.04, 1), (0.0, 2)])
def test_an_interval_is_students_of_the_differences(mean: float, n_comparisons: int) -> None:
    """Where growing is not better, it holds together with that of the other size."""
    wobbles = {0: 0.002, 1: -0.003, 2: 0.004}
    study = plan_study(
        ALIKE | {("grow", "time"): 0.91 + mean},
        wobble=lambda name, seed: wobbles[seed] if name == "grow" else 0.0,
    )

    found = growth(study).held["large"].difference

    apart = [mean + each for each in wobbles.values()]
    half = student.ppf(1 - 0.05 / 2 / n_comparisons, 2) * stdev(apart) / math.sqrt(3)
    assert found.estimate == pytest.approx(fmean(apart))
    assert found.high == pytest.approx(fmean(apart) + half)


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({}, "held", "Growing the batch pays here: it ends better than batch size 1024"),
        ({("grow", "time"): 0.9100}, "did_not_hold", "no better than batch size 1024 throughout"),
        ({("grow", "time"): 0.88}, "did_not_hold", "it ends worse than batch size 1024 throughout"),
    ],
)
def test_it_pays_where_it_beats_both_constant_sizes_in_equal_time(
    changes: Ends, verdict: str, said: str
) -> None:
    found = growth(plan_study({**ALIKE, **changes}))

    assert growth_document(found).verdict == verdict
    assert said in growth_conclusion(found)[0]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (0.93, "may pay here, which these seeds do not show yet: it ends 0.0200"),
        (0.90, "may not pay here, which these seeds do not show yet: it ends 0.0100"),
        (0.911, "makes no difference here that these seeds show: it ends 0.0010"),
    ],
)
def test_scatter_leaves_it_open_and_says_who_is_ahead(end: float, said: str) -> None:
    def wobble(name: str, seed: int) -> float:
        return (0.06, -0.06, 0.0)[seed] if name == "grow" else 0.0

    found = growth(plan_study({**ALIKE, ("grow", "time"): end}, wobble=wobble))

    assert growth_document(found).verdict == "cannot_tell"
    assert said in growth_conclusion(found)[0]


def test_one_seed_has_no_interval() -> None:
    found = growth(plan_study(ALIKE, n_seeds=1))

    assert growth_document(found).verdict == "cannot_tell"
    assert "one seed: no interval" in growth_conclusion(found)[0]


def test_what_cutting_the_rate_does_alone_is_said_with_its_time() -> None:
    _, lead = growth_conclusion(growth(plan_study(ALIKE)))

    assert lead.endswith("Each was trained at one learning rate, tuned for none of them.")
    share = took_s("grow", EPOCHS) / took_s("decay", EPOCHS)
    assert "growing and cutting the rate at the same places end alike" in lead
    assert f"growing takes {100 * share:.0f} % of the time" in lead


def test_without_step_times_equal_examples_decide() -> None:
    found = growth(plan_study(ALIKE, timed=False))

    assert found.decisive == "epochs"
    assert growth_document(found).better_than["small"].estimate == pytest.approx(0.03)


def test_what_the_budget_ended_before_equal_time_is_not_held_there() -> None:
    study = plan_study(ALIKE)
    shortest = [r for r in study.records if not (r.trial.batch_size == LARGE)]
    short = [r for r in shortest if r.epochs <= EPOCHS]

    found = growth(replace(study, records=tuple(short)))

    assert found.decisive == "epochs"
    assert set(found.plans.get("time", {})) <= {"small", "decay"}


def test_each_plan_is_at_its_best_rate() -> None:
    study = plan_study(ALIKE)
    worse = plan_study({key: end - 0.1 for key, end in ALIKE.items()})
    at_another = tuple(
        replace(record, trial=replace(record.trial, learning_rate=0.5)) for record in worse.records
    )

    found = growth(replace(study, records=(*at_another, *study.records)))

    rates = {runs.trial.learning_rate for of in found.plans.values() for runs in of.values()}
    assert rates == {0.01}
    _, lead = growth_conclusion(found)
    assert "Each is at the best of its rates on validation data" in lead
    assert "The best rate is the" not in lead  # of two each is an end


def test_a_best_rate_at_the_end_of_those_tried_is_said() -> None:
    study = plan_study(ALIKE)
    worse = plan_study({key: end - 0.1 for key, end in ALIKE.items()})
    others = tuple(
        replace(record, trial=replace(record.trial, learning_rate=rate))
        for record in worse.records
        for rate in (0.1, 0.5)
    )

    _, lead = growth_conclusion(growth(replace(study, records=(*others, *study.records))))

    assert "The best rate is the lowest that was tried of batch size 64 throughout," in lead


def test_a_start_is_not_read_off_a_line_from_the_untrained_model() -> None:
    study = plan_study(ALIKE)
    seldom = [
        replace(
            record, evaluations=(record.evaluations[0], *record.evaluations[-20:])
        ) if record.trial.seed == 1 and record.trial.batch_sizes == (SMALL,) else record
        for record in study.records
    ]  # fmt: skip

    found = growth(replace(study, records=tuple(seldom)))

    small = found.plans["time"]["small"]
    assert set(small.values(part=0.05)) == {0, 2}
    assert set(small.values()) == {0, 1, 2}


def test_what_another_question_trained_shorter_does_not_end_the_comparison() -> None:
    study = plan_study(ALIKE)
    short = [
        replace(record, evaluations=record.evaluations[:-3])
        if record.trial.batch_sizes == (SMALL,) and record.trial.seed == 0
        else record
        for record in study.records
    ]

    found = growth(replace(study, records=tuple(short)))

    assert {runs.budget.amount for runs in found.plans["epochs"].values()} == {EPOCHS}
    assert set(found.plans["epochs"]["small"].values()) == {1, 2}


def test_the_textbooks_two_claims_hold_where_they_do_under_every_budget() -> None:
    said = text_report(plan_study(ALIKE))

    assert "“Small batches start quicker”: held." in said
    assert "“Large batches fit training data better”: did not hold." in said
    assert "“Large batches fit training data better”: held." in text_report(
        plan_study(ALIKE | {("large", "epochs"): 0.92})
    )


def test_sizes_are_compared_at_equal_lengths_beside_the_plans() -> None:
    """What the large batch was trained longer is no part of what is said of batch sizes."""
    study = plan_study(ALIKE)

    said = " ".join(text_report(study).split())

    assert "accuracy is 0.9000 at batch size 64, but 0.8500 at batch size 1024" in said


def test_beside_plans_a_batch_size_is_what_it_was_at_their_length() -> None:
    study = plan_study(ALIKE)

    constant = of_constant_size(study)

    assert {record.epochs for record in constant.records} == {EPOCHS}
    assert {record.trial.batch_sizes for record in constant.records} == {(SMALL,), (LARGE,)}
    held = {record.trial.batch_sizes for cell in cells(study) for record in cell.records}
    assert held == {(SMALL,), (LARGE,)}


def test_of_a_loss_less_is_better() -> None:
    study = plan_study({key: 1 - end for key, end in ALIKE.items()})
    loss = MetricSummary(name="accuracy", better="lower")  # a made-up one, which goes down
    study = replace(study, workload=replace(study.workload, metrics=(loss,)))

    found = growth(study)

    assert growth_document(found).verdict == "held"
    assert growth_document(found).better_than["large"].estimate == pytest.approx(0.04)


def test_a_plan_that_diverged_is_named() -> None:
    study = plan_study(ALIKE)
    lost = [
        replace(record, status=Status.DIVERGED)
        if record.trial.largest_batch_size > SMALL
        and record.trial.stages
        and record.trial.seed == 0
        else record
        for record in study.records
    ]

    study = replace(study, records=tuple(lost))

    assert "Left out of every mean: growing from 64 to 1024 at learning rate 0.01" in text_report(
        study
    )
    assert "growing from 64 to 1024 at learning rate 0.01" in html_page(study)


def test_a_page_and_a_document_have_them_all() -> None:
    study = plan_study(ALIKE)

    page, document = html_page(study), sweep_document(study, store=None, report=None)

    assert "Growing the batch pays here" in page
    assert "256 at 40 %, 1024 at 70 %" in page.replace(",024", "024")
    assert '"verdict": "held"' in document or '"verdict":"held"' in document


def test_a_sweep_of_sizes_alone_has_none() -> None:
    assert growth_of(made_up_study()) is None


def cut_large(record):
    """The large one was cut on its way to equal time, or goes on with it."""
    if record.trial.batch_sizes != (LARGE,):
        return record
    seen = tuple(e for e in record.evaluations if record.epoch_of(e) <= 1.5 * EPOCHS)
    return replace(record, status=Status.TIMEOUT, evaluations=seen)


def test_a_large_one_that_was_cut_on_its_way_to_equal_time_counts_at_equal_examples() -> None:
    study = plan_study(ALIKE)

    found = growth(replace(study, records=tuple(map(cut_large, study.records))))

    assert set(found.plans["epochs"]) == {"small", "large", "grow", "decay"}
    assert "large" not in found.plans["time"]


def test_growing_pays_only_where_it_was_held_against_both_constant_sizes() -> None:
    study = plan_study(ALIKE)
    without = [record for record in study.records if record.trial.batch_sizes != (LARGE,)]

    found = growth(replace(study, records=tuple(without)))

    assert growth_document(found).verdict == "cannot_tell"
    assert (
        "no training of the large batch size can be held against it"
        in (growth_conclusion(found)[0])
    )


def test_what_was_trained_longer_before_is_read_where_the_time_is_spent() -> None:
    """As another question left it: the small size, twice as long."""
    study = plan_study(ALIKE)
    twice = plan_study({**ALIKE, ("small", "epochs"): 0.90})
    longer = [
        made_up_record(
            trial=record.trial,
            curves={(split, "accuracy"): lambda epoch: 0.9 for split in ("train", "validation")},
            epochs=2 * EPOCHS,
            evaluations_per_epoch=4,
        )
        if record.trial.batch_sizes == (SMALL,)
        else record
        for record in twice.records
    ]

    found = growth(replace(study, records=tuple(longer)))

    assert found.decisive == "time"
    assert found.plans["time"]["small"].budget.amount == pytest.approx(took_s("small", EPOCHS))
    assert found.plans["time"]["small"].epochs == pytest.approx(EPOCHS)


def test_it_is_the_open_comparison_that_is_told() -> None:
    """Surely better than the small one by little, and open beside the large one."""

    def wobble(name: str, seed: int) -> float:
        return (0.08, -0.08, 0.0)[seed] if name == "large" else 0.0

    study = plan_study({**ALIKE, ("small", "epochs"): 0.94, ("large", "time"): 0.92}, wobble=wobble)

    said, _ = growth_conclusion(growth(study))

    assert "may pay here, which these seeds do not show yet" in said
    assert "ahead of batch size 1024 throughout" in said


def test_under_a_schedule_the_longer_training_of_a_size_is_not_averaged_with_the_shorter() -> None:
    study = plan_study(ALIKE)
    scheduled = [
        replace(record, trial=replace(record.trial, horizon_steps=record.steps))
        for record in study.records
    ]
    short = [
        made_up_record(
            trial=replace(trial_of("large", epochs=EPOCHS, seed=seed), horizon_steps=80),
            curves={("validation", "accuracy"): lambda epoch: 0.7},
            epochs=EPOCHS,
        )
        for seed in range(3)
    ]

    constant = of_constant_size(replace(study, records=(*scheduled, *short)))

    large = [r for r in constant.records if r.trial.batch_size == LARGE]
    assert [record.trial.horizon_steps for record in large] == [80, 80, 80]


def test_a_rate_that_a_schedule_moves_is_not_drawn_as_the_plans() -> None:
    study = plan_study(ALIKE)
    scheduled = [
        replace(record, trial=replace(record.trial, horizon_steps=record.steps))
        for record in study.records
    ]

    _, plain = growth_figures(growth(study), key="a", along_key="g")
    _, moved = growth_figures(
        growth(replace(study, records=tuple(scheduled))), key="a", along_key="g"
    )

    assert {panel.quantity for panel in plain.panels} == {"batch_size", "learning_rate"}
    assert {panel.quantity for panel in moved.panels} == {"batch_size"}


def test_under_a_schedule_a_longer_training_is_not_read_on_its_way() -> None:
    study = plan_study(ALIKE)
    moved = [
        replace(record, trial=replace(record.trial, horizon_steps=record.steps))
        for record in study.records
    ]

    found = growth(replace(study, records=tuple(moved)))

    assert set(found.plans["epochs"]) == {"small", "grow", "decay"}  # the large one is longer
    assert set(found.plans["time"]) == {"small", "large", "grow", "decay"}


def test_plans_whose_metric_was_never_known_are_compared_with_nothing() -> None:
    study = plan_study(ALIKE)
    blind = [
        replace(record, evaluations=tuple(replace(e, scores=()) for e in record.evaluations))
        for record in study.records
    ]

    assert growth_of(replace(study, records=tuple(blind))) is None


def test_the_band_of_each_plan_is_its_own() -> None:
    """Plans share colors: without it one band would join the seeds of all of them."""
    study = plan_study(ALIKE)
    ends, _ = growth_figures(growth(study), key="a", along_key="g")

    layers = plot(ends.panels[0], figure_looks(study))["layer"]

    bands = [layer for layer in layers if layer["mark"]["type"] == "area"]
    assert [band["encoding"]["detail"]["field"] for band in bands] == ["series"]
