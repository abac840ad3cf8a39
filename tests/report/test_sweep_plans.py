"""A plan is a row of a sweep's table, as a batch size is."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.reference.made_up_plans import (
    EPOCHS,
    SMALL,
    plan_study,
    planned_trial,
)

from batchlab.belief.evidence import Evidence
from batchlab.records.trial import Status
from batchlab.report.cells import figure_looks
from batchlab.report.chart import figure_image
from batchlab.report.figure import drawn_looks
from batchlab.report.sayings import claim_sentences
from batchlab.report.sweep_answer import conclusion, sentences, sweep_table
from batchlab.report.sweep_page import html_page, sweep_figures, text_report

# ---- the table


def test_each_plan_is_at_its_best_rate() -> None:
    study = plan_study(rates=(0.01, 0.1))

    assert set(sweep_table(study).by_key()["learning_rate"]) == {0.01}
    ends = sweep_table(study).by_key()["validation"]
    assert list(ends) == pytest.approx([0.90, 0.85, 0.95, 0.93])


# ---- what is said


def test_a_size_that_an_earlier_sweep_trained_longer_is_read_at_equal_epochs() -> None:
    study = plan_study()
    longer = []
    for record in study.records[:3]:
        at = {"step": 2 * record.steps, "samples": 2 * record.samples}
        last = replace(record.evaluations[-1], **at)
        longer.append(replace(record, evaluations=(*record.evaluations, last)))

    mixed = replace(study, records=(*longer, *study.records[3:]))

    assert [budget.amount for budget in Evidence.of(mixed).budgets] == [EPOCHS]


@pytest.mark.parametrize(
    ("ends", "rivals", "words"),
    [
        ((0.9301, 0.85, 0.9302, 0.93), (SMALL, "decay"), "Batch size 64 and the plan “decay”"),
        # A plan is not taken for the batch size that it begins with.
        ((0.85, 0.87, 0.9302, 0.9285), ("decay",), "The plan “decay”"),
    ],
)
def test_plans_that_may_be_as_good_come_after_sizes(ends, rivals, words) -> None:
    study = plan_study(dict(zip(("small", "large", "grow", "decay"), ends, strict=True)))
    by_budget = Evidence.of(study).by_budget()

    assert list(by_budget) == ["epochs"]
    assert by_budget["epochs"].ranked[0].kind == "grow"
    assert by_budget["epochs"].rivals == rivals
    assert f"{words} may be as good." in conclusion(study).headline


def test_claims_of_batch_sizes_are_those_of_a_sweep_without_plans() -> None:
    study = plan_study()
    constant = [record for record in study.records if not record.trial.stages]
    sizes = replace(study, records=tuple(constant))

    assert claim_sentences(Evidence.of(study)) == claim_sentences(Evidence.of(sizes)) != ()


def test_a_plan_that_diverged_is_named_and_in_no_mean() -> None:
    study, bad = plan_study(), planned_trial("grow")
    records = (replace(r, status=Status.DIVERGED) if r.trial == bad else r for r in study.records)
    study = replace(study, records=tuple(records))

    (said,) = [sentence.text for sentence in sentences(study) if sentence.topic == "left out"]
    assert "the plan “grow” at learning rate 0.01" in said
    assert list(sweep_table(study).by_key()["n"]) == [3, 3, 2, 3]


def test_without_a_metric_nothing_is_compared() -> None:
    study = plan_study()
    unscored = (
        replace(r, evaluations=tuple(replace(each, scores=()) for each in r.evaluations))
        for r in study.records
    )
    blind = replace(study, records=tuple(unscored))

    assert Evidence.of(blind).by_budget() == {}
    assert "grow (64 to 1024)" in text_report(blind)


# ---- the figures


def test_a_legend_has_what_its_figures_draw(undrawn: None) -> None:
    study = plan_study()
    looks = figure_looks(study)
    figures = {each.key: each for each in sweep_figures(study)}
    drawn = {key: [look.label for look in drawn_looks(looks, figures[key].rows)] for key in "ad"}

    assert drawn == {"a": ["64", "1024", "grow", "decay"], "d": ["64", "256", "1024"]}
    panel, _ = figures["a"].panels
    assert "256" not in figure_image(figures["a"], [panel], looks, "svg").decode()
    legends = re.findall(r'<ul class="legend".*?</ul>', html_page(study), re.DOTALL)
    assert [">256<" in re.sub("</svg>", ">", each) for each in legends] == [False, True]


@pytest.mark.parametrize("sizes", [(64, 256, 1024), (32, 512), (16, 64)])
def test_each_plan_has_a_color_of_its_own(sizes: tuple[int, ...]) -> None:
    study = plan_study()
    kept = [r for r in study.records if r.trial.stages or r.trial.batch_size in sizes]
    looks = figure_looks(replace(study, records=tuple(kept)))

    assert len({look.light for look in looks}) == len(looks)
    assert [look.label for look in looks][-2:] == ["grow", "decay"]
