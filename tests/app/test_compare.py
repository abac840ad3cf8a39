"""Two studies side by side: what differs beyond noise, and what does not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up import made_up_curves, made_up_study
from tests.reference.made_up_advice import made_up_advice
from tests.reference.stored_advice import put_advised
from tests.reference.stored_study import put_study
from tests.reference.studies_to_compare import TARGET, profile_to_compare, study_to_compare

from batchlab.app.compare import compare
from batchlab.report.short_reports import ComparedFigure, Comparison, comparison_section
from batchlab.report.text import label_text
from batchlab.store.store import Store

Make = Callable[..., Any]


def differing(found: Comparison) -> set[str]:
    return {figure.quantity for figure in found.figures if figure.verdict == "differs"}


def of(found: Comparison, quantity: str) -> list[ComparedFigure]:
    return [figure for figure in found.figures if figure.quantity == quantity]


def pair(make: Make, seed: int, **other: Any) -> Comparison:
    draw = np.random.default_rng([7, seed])
    return compare(make(draw), make(draw, **other))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "n"),
    by_day(
        [(profile_to_compare, 20), (study_to_compare, 8), (profile_to_compare, 200)],
        [(profile_to_compare, 20), (study_to_compare, 8)],
    ),
)
def test_of_one_truth_at_most_one_comparison_in_twenty_finds_a_difference(make, n):
    told_apart = sum(bool(differing(pair(make, seed))) for seed in range(n))

    # 200 of each: 3.5 % and 0.5 %. Here three standard errors more than 5 %.
    assert told_apart <= 0.05 * n + 3 * (0.05 * 0.95 * n) ** 0.5


@pytest.mark.parametrize(
    ("make", "other", "quantity", "truth"),
    [
        (profile_to_compare, {"slower": 1.5}, "step_s", 1.5),
        (profile_to_compare, {"slower": 1.5, "processes": 1}, "step_s", 1.5),
        *(
            pytest.param(study_to_compare, *case, marks=pytest.mark.slow)
            for case in (
                ({"slower": 1.5}, "step_s", 1.5),
                ({"longer": 1.5}, "steps_to_target", 1.5),
                ({"worse": 0.02}, "accuracy", -0.02),
            )
        ),
    ],
)
def test_a_true_difference_is_found_and_its_interval_holds_it(make, other, quantity, truth):
    found = pair(make, 0, **other)

    assert quantity in differing(found)
    assert differing(found) <= {quantity, "time_to_target_s", "accuracy", "steps_to_target"}
    assert of(found, quantity)[-1].change.holds(truth)


def test_of_two_targets_the_easier_one_counts_and_of_two_metrics_none():
    a = made_up_study(batch_sizes=(64,), seeds=2)
    a, b = replace(a, target=TARGET), replace(a, target=replace(TARGET, value=0.95))
    other = replace(a, target=replace(TARGET, metric="loss", better="lower"))

    assert compare(a, b).target == compare(b, a).target == TARGET
    assert [each.name for each in compare(a, b).settings] == ["target"]
    assert of(compare(a, b), "steps_to_target")
    assert compare(a, other).target is None
    assert of(compare(a, other), "steps_to_target") == []
    # Nor does a batch size of which one run never got there.
    evaluations = a.records[1].evaluations[:2]
    missed = replace(a, records=(a.records[0], replace(a.records[1], evaluations=evaluations)))
    assert of(compare(a, missed), "steps_to_target") == []


def test_the_rate_is_one_that_both_have_and_not_the_best_of_one():
    a = made_up_study(
        batch_sizes=(16, 64),
        learning_rates=(0.01, 0.1),
        seeds=2,
        curves=lambda size, rate, seed: made_up_curves(validation=0.9 + rate / 2 + seed / 1000),
    )
    b = replace(a, records=tuple(r for r in a.records if r.trial.learning_rate == 0.01))
    b = replace(b, study_id="b", timings=())

    rates = {figure.learning_rates for figure in of(compare(a, b), "accuracy")}

    assert rates == {(0.01, 0.01)}
    # One run of each is held against the usual scatter.
    one, longer = (made_up_study(batch_sizes=(64,), epochs=n) for n in (5, 6))
    found = compare(one, longer)
    verdicts = {figure.quantity: figure.verdict for figure in found.figures}
    assert verdicts["accuracy"] == "within_noise"
    assert verdicts["step_s"] == "cannot_tell"  # machines differ too much for a prior
    assert label_text("step_s") in comparison_section(found).title


def test_another_workload_and_machine_are_said_and_what_one_lacks_is_not():
    a = made_up_study(batch_sizes=(64, 256), seeds=2)
    summary = replace(a.workload, workload_id="another", n_train=5000)
    b = replace(a, workload=summary, environment=(("python", "3.12"), ("cores", "2")))

    found = compare(a, b)
    fewer = compare(a, made_up_study(batch_sizes=(16, 64), seeds=2))
    beside_a_profile = compare(a, profile_to_compare(np.random.default_rng(1)))

    assert [(s.name, s.a, s.b) for s in found.settings] == [
        ("workload id", "made-up-id", "another"),
        ("n train", "4096", "5000"),
        ("python", "3.11", "3.12"),
    ]
    # What was swept is no setting.
    facts = comparison_section(fewer).facts
    assert facts[0] == "Workload, machine and versions are the same."
    assert "None" not in {side for s in beside_a_profile.settings for side in (s.a, s.b)}
    assert of(beside_a_profile, "step_s")


def test_studies_of_a_store_are_compared_by_all_of_their_runs(tmp_path):
    whole = made_up_study(batch_sizes=(64, 256), seeds=2)
    with Store(tmp_path / "lab.db") as store:
        put_study(store, whole)
        put_study(store, replace(whole, study_id="part", records=whole.records[:2]))
    with Store(tmp_path / "advice.db") as store:
        put_advised(store, made_up_advice())

    found = compare("made-up", "part", store=tmp_path / "lab.db")
    other = compare(tmp_path / "advice.db", whole)

    assert differing(found) == set()
    assert found.to_dict()["command"] == "compare"
    assert {"step_s", "steps_to_target"} <= {figure.quantity for figure in other.figures}
