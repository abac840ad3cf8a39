"""A sweep as text, as files and as JSON."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from scripts.schemas import schema_text
from tests.reference.made_up import made_up_record, made_up_study
from tests.reference.made_up_plans import EPOCHS, SMALL, plan_study

from batchlab.app.compare import Side
from batchlab.belief.evidence import Evidence
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.report import sweep_page
from batchlab.report.cells import figure_looks
from batchlab.report.chart import paper_svg
from batchlab.report.figure import drawn_looks
from batchlab.report.sweep_answer import conclusion, sweep_table
from batchlab.report.sweep_page import html_page, sweep_figures, sweep_files, text_report

# The names that scripts rely on (design, "What --json prints"): they may grow, never shrink.
TRIAL = {
    *("trial_id", "status", "engine", "threads", "batch_mode", "batch_size", "micro_batch_size"),
    *("learning_rate", "seed", "epochs", "steps", "samples", "train_s", "eval_s", "peak_bytes"),
    *("target", "steps_to_target", "samples_to_target", "plateau_epoch", "final"),
    "generalization_gap",
}
SAID = {"schema": 1, "command": "sweep", "store": "lab.db", "report": "out.html"}


def trials_of(study: Study) -> list[dict[str, Any]]:
    text = sweep_page.sweep_document(study, store=Path("lab.db"), report=Path("out.html"))
    document = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    jsonschema.validate(document, json.loads(schema_text(sweep_page.SweepDocument)))
    assert set(document) >= {*SAID, "workload", "trials"}
    assert document.items() >= SAID.items()
    assert all(set(trial) >= TRIAL for trial in document["trials"])
    return document["trials"]


def test_unknown_or_not_finite_is_null_and_never_a_number() -> None:
    study = made_up_study(batch_sizes=(64,), timed=False, n_test=0, n_validation=0)
    blind = replace(study.records[0], peak_bytes=None, evaluations=())
    curves = {("train", "accuracy"): lambda epoch: float("nan")}
    broken = made_up_record(trial=study.records[0].trial, curves=curves, status=Status.NAN)

    ((unknown,), (trial,)) = (trials_of(replace(study, records=(r,))) for r in (blind, broken))

    for name in ("peak_bytes", "step_s", "target", "steps_to_target", "generalization_gap"):
        assert unknown[name] is None
    assert unknown["final"] == {}
    assert trial["final"] == {"train": {"accuracy": None, "loss": None}}


def test_a_rate_that_a_command_has_itself_is_shown_nowhere(undrawn):
    endings = {(256, 0.0193, 1): (Status.DIVERGED, "the loss grew a thousandfold", 2)}
    with_rate = made_up_study(learning_rates=(0.0193,), seeds=2, endings=endings)
    study = replace(with_rate, workload=replace(with_rate.workload, takes_rate=False))
    files = [table.to_csv() for table in sweep_files(study).values()]

    assert "0.0193" in text_report(with_rate)
    assert not any("0.0193" in said for said in (text_report(study), html_page(study), *files))
    assert {rate for _, rate in Side(name="a", study=study).ends} == {None}


def test_unequal_lengths_have_a_column_for_equal_epochs_and_a_mean_time():
    """Two seeds of batch size 64 that ended after 4 and 8 epochs, and one of 256 after 8."""
    long, short = made_up_study(epochs=8, seeds=2), made_up_study(epochs=4, seeds=2)
    records = {(r.trial.batch_size, r.trial.seed): r for r in long.records}
    (other,) = (r for r in short.records if (r.trial.batch_size, r.trial.seed) == (64, 1))
    of_64 = (records[64, 0], other)
    table = sweep_table(replace(long, records=(*of_64, records[256, 0]))).by_key()

    assert "equal_epochs" not in sweep_table(made_up_study()).by_key()
    assert table["equal_epochs"] != table["validation"]
    seconds = [long.train_s(record.trial, record.steps) for record in of_64]
    assert table["equal_time_s"][0] == pytest.approx(sum(seconds) / 2)


@pytest.mark.nightly
def test_a_sweep_of_360_trials_has_all_of_them_on_its_page_and_in_its_files() -> None:
    rates = tuple(0.002 * 2**octave for octave in range(8))
    sizes = (1, 2, 4, 8, 16, 32, 64, 128, 4096)
    study = made_up_study(batch_sizes=sizes, learning_rates=rates, seeds=5, epochs=3)

    assert len(html_page(study).encode()) < 25_000_000
    assert "360" in text_report(study)
    trials = sweep_files(study)["trials"].by_key()["trial_id"]
    assert sorted(trials) == sorted(record.trial.trial_id for record in study.records)


# ---- a plan is a row of a sweep's table, as a batch size is


def test_each_plan_is_at_its_best_rate() -> None:
    study = plan_study(rates=(0.01, 0.1))

    assert set(sweep_table(study).by_key()["learning_rate"]) == {0.01}
    ends = sweep_table(study).by_key()["validation"]
    assert list(ends) == pytest.approx([0.90, 0.85, 0.95, 0.93])


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
    by_budget = Evidence.of(study).by_budget

    assert list(by_budget) == ["epochs"]
    assert by_budget["epochs"].ranked[0].kind == "grow"
    assert by_budget["epochs"].rivals == rivals
    assert f"{words} may be as good." in conclusion(study)[0]


def test_a_legend_has_what_its_figures_draw(undrawn: None) -> None:
    study = plan_study()
    looks = figure_looks(study)
    figures = {each.key: each for each in sweep_figures(study)}
    drawn = {key: [look.label for look in drawn_looks(looks, figures[key].panels)] for key in "ad"}

    assert drawn == {"a": ["64", "1024", "grow", "decay"], "d": ["64", "256", "1024"]}
    panel, _ = figures["a"].panels
    assert "256" not in paper_svg([panel], looks, title="", prefix="a")
    legends = re.findall(r'<ul class="legend".*?</ul>', html_page(study), re.DOTALL)
    assert [">256<" in re.sub("</svg>", ">", each) for each in legends] == [False, True]


@pytest.mark.parametrize("sizes", [(64, 256, 1024), (32, 512), (16, 64)])
def test_each_plan_has_a_color_of_its_own(sizes: tuple[int, ...]) -> None:
    study = plan_study()
    kept = [r for r in study.records if r.trial.stages or r.trial.batch_size in sizes]
    looks = figure_looks(replace(study, records=tuple(kept)))

    assert len({look.light for look in looks}) == len(looks)
    assert [look.label for look in looks][-2:] == ["grow", "decay"]
