"""A sweep as a page, as text, as files and as JSON."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest
from tests.reference.made_up import made_up_record, made_up_study
from tests.reference.page import HOSTILE, Page
from tests.reference.said_of_sweep import by_size

from batchlab.app.comparison import Side
from batchlab.belief import cells
from batchlab.belief.evidence import Evidence
from batchlab.laws.plateau import plateau_of
from batchlab.records.study import Study
from batchlab.records.trial import Status, Target
from batchlab.report.cells import observations_table
from batchlab.report.figure import rows_table
from batchlab.report.page import download
from batchlab.report.sayings import claim_sentences
from batchlab.report.sweep_answer import conclusion, sentences, sweep_table, trials_table
from batchlab.report.sweep_page import (
    SweepDocument,
    html_page,
    sweep_document,
    sweep_figures,
    sweep_files,
    text_report,
)
from batchlab.words.document import schema_text

STUDY = replace(
    made_up_study(
        batch_sizes=(64, 256, 4096),
        seeds=2,
        epochs=3,
        metrics=[("loss", "lower")],
        endings={(256, 0.01, 1): (Status.DIVERGED, "the loss grew a thousandfold", 2)},
    ),
    command="batchlab sweep made-up --batch-sizes 64,256,full",
)


@pytest.fixture(scope="module")
def text() -> str:
    return html_page(STUDY)


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_the_page_is_whole_fetches_nothing_and_has_every_chart_without_a_script(text, page):
    plots = [div for div in page.having("div") if div.get("class") == "plot"]
    (policy,) = [m["content"] for m in page.having("meta") if m.get("http-equiv")]

    assert (page.unmatched, page.open, page.fetched()) == ([], [], [])
    assert len(text.encode()) < 5_000_000
    assert "default-src 'none'" in policy
    assert not any(word in policy for word in ("http", "*", "'self'"))
    assert len(plots) == 2 + 2 * 3 + 2 + 1
    assert all(div["role"] == "img" and len(div["aria-label"]) > 40 for div in plots)
    assert text.count('<svg xmlns="http://www.w3.org/2000/svg" xmlns') == len(plots)
    assert len(page.having("caption")) == len(page.having("table"))


def test_the_raw_data_are_in_the_page_packed_or_not_at_all_where_they_are_too_large(page):
    files = {a["download"]: a["href"] for a in page.having("a") if "download" in a}
    trials, table = trials_table(STUDY), observations_table(STUDY)

    assert unquote(files["batchlab-trials.csv"].partition(",")[2]) == trials.to_csv()
    assert unquote(files["batchlab-observations.csv"].partition(",")[2]) == table.to_csv()
    name, address = download("data.csv", table, most=10_000)
    kind, _, packed = (address or "").partition(",")
    assert (name, kind) == ("data.csv.gz", "data:application/gzip;base64")
    assert gzip.decompress(base64.b64decode(packed)).decode() == table.to_csv()
    assert download("data.csv", table, most=100)[1] is None


def test_what_is_said_stands_under_its_topic_once_with_its_verdict(text):
    claims = claim_sentences(Evidence.of(STUDY))
    assert len(claims) == 4
    for sentence in sentences(STUDY):
        assert f"<dt>{sentence.topic}</dt>" in text
        assert text.count(escape(sentence.text, quote=False)) == 1
    for claim in claims:
        assert text.count(f'<dt>“{claim.topic}”</dt>\n<dd><strong class="verdict') == 1
        assert escape(claim.text, quote=False) in text
    found = conclusion(STUDY)
    for said in (found.headline, found.lead):
        assert text.count(escape(said, quote=False)) == 1
    assert '<strong class="verdict did_not_hold">did not hold</strong>' in text


@pytest.mark.slow
def test_the_plateau_of_a_trial_is_fitted_once_for_a_page(monkeypatch):
    fitted = []

    def counted(record, **named):
        fitted.append(record.trial.trial_id)
        return plateau_of(record, **named)

    monkeypatch.setattr(cells, "plateau_of", counted)
    cells.plateaus.cache_clear()
    html_page(STUDY)

    assert sorted(fitted) == sorted(record.trial.trial_id for record in STUDY.records)


@pytest.mark.slow
def test_text_of_a_user_is_never_markup():
    study = made_up_study(
        batch_sizes=(64,),
        epochs=1,
        timed=False,
        metrics=[(HOSTILE, "higher")],
        curves=lambda b, rate, seed: {
            (split, HOSTILE): lambda epoch: epoch for split in ("train", "test")
        },
        endings={(64, 0.01, 0): (Status.ERROR, HOSTILE, 1)},
    )
    workload = replace(
        study.workload, name=HOSTILE, reference=HOSTILE, settings=(("s", HOSTILE),),
        warnings=(HOSTILE,),
    )  # fmt: skip
    text = html_page(
        replace(study, workload=workload, command=HOSTILE, environment=((HOSTILE, HOSTILE),))
    )

    assert "<script>alert" not in text
    assert len(Page(text).having("script")) == 1
    assert Page(text).having("b") == []
    assert "{{7*7}}" in text
    assert Page(text).unmatched == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "study",
    [
        made_up_study(batch_sizes=()),
        made_up_study(batch_sizes=(64,), epochs=0),
        made_up_study(batch_sizes=(64,), epochs=1),
        made_up_study(n_validation=0, n_test=0, timed=False),
        made_up_study(
            batch_sizes=(64,), endings={(64, 0.01, 0): (Status.DIVERGED, "the loss grew", 3)}
        ),
        made_up_study(learning_rates=(0.01, 0.1), seeds=2),
    ],
    ids=["no trials", "untrained", "one epoch", "no held-out data", "all diverged", "two rates"],
)
def test_every_kind_of_study_gives_a_whole_page(study):
    page = Page(html_page(study))

    assert page.unmatched == []
    titles = {title["id"] for title in page.having("h2")}
    always = {"figures-title", "runs-title", "origin-title"}
    assert always <= titles
    assert titles - always <= {"folklore-title"}
    cards = [title["id"] for title in page.having("h3") if "id" in title]
    assert set(cards) <= {f"figure-{key}-title" for key in "bcde"}
    assert len(page.having("h1")) == 1


# The names that scripts rely on (design, "What --json prints"): they may grow, never shrink.
SWEEP = {"schema", "command", "workload", "store", "report", "trials"}

TRIAL = {
    *("trial_id", "status", "engine", "threads", "batch_mode", "batch_size", "micro_batch_size"),
    *("learning_rate", "seed", "epochs", "steps", "samples", "train_s", "eval_s", "peak_bytes"),
    *("target", "steps_to_target", "samples_to_target", "plateau_epoch", "diagnosis", "final"),
    "generalization_gap",
}


def document_of(study: Study, *, report: Path | None = None) -> dict[str, Any]:
    text = sweep_document(study, store=Path("lab.db"), report=report)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document: dict[str, Any] = json.loads(text, parse_constant=refuse)
    jsonschema.validate(document, json.loads(schema_text(SweepDocument)))
    return document


def test_a_document_has_every_promised_name() -> None:
    document = document_of(made_up_study(), report=Path("out.html"))

    assert set(document) >= SWEEP
    assert all(set(trial) >= TRIAL for trial in document["trials"])
    assert (document["schema"], document["command"]) == (1, "sweep")
    assert (document["store"], document["report"]) == ("lab.db", "out.html")


def test_unknown_or_not_finite_is_null_and_never_a_number() -> None:
    study = made_up_study(batch_sizes=(64,), timed=False, n_test=0, n_validation=0)
    record = replace(study.records[0], peak_bytes=None, evaluations=())

    trial = document_of(replace(study, records=(record,)))["trials"][0]

    unknown = ("peak_bytes", "step_s", "target", "steps_to_target", "generalization_gap")
    assert [trial[name] for name in unknown] == [None] * len(unknown)
    assert trial["final"] == {}
    curves = {("train", "accuracy"): lambda epoch: float("nan")}
    record = made_up_record(trial=study.records[0].trial, curves=curves, status=Status.NAN)
    trial = document_of(replace(study, records=(record,)))["trials"][0]
    assert trial["final"] == {"train": {"accuracy": None, "loss": None}}


def test_a_target_comes_with_the_step_that_met_it() -> None:
    study = made_up_study(batch_sizes=(64,))
    target = Target(metric="accuracy", value=0.9, better="higher")
    record = replace(study.records[0], target=target, status=Status.TARGET_REACHED)

    trial = document_of(replace(study, records=(record,), target=target))["trials"][0]

    crossing = record.crossing(target)
    assert crossing is not None
    asked = {"metric": "accuracy", "value": 0.9, "better": "higher", "held_for": 0.1}
    assert trial["target"] == asked
    assert trial["steps_to_target"] == crossing.step > 0
    assert trial["samples_to_target"] == crossing.samples == 64 * crossing.step


# ---- final metrics with their intervals


@pytest.mark.parametrize("seeds", [2, 3])
def test_no_interval_of_an_accuracy_exceeds_1(seeds):
    high = {64: (1.0, 0.999, 0.998), 256: (0.999, 0.99, 0.995), 1024: (0.98, 0.97, 0.99)}
    clipped = made_up_study(
        seeds=seeds,
        curves=lambda b, r, s: {
            key: (lambda epoch, curve=curve: min(1.0, curve(epoch)))
            for key, curve in by_size(high, scatter=0.004)(b, r, s).items()
        },
    )

    bounds = sweep_table(clipped).by_key()["validation_high"]

    assert len(bounds) == 3
    assert max(bounds) <= 1


def test_a_rate_that_a_command_has_itself_is_shown_nowhere():
    endings = {(256, 0.0193, 1): (Status.DIVERGED, "the loss grew a thousandfold", 2)}
    with_rate = made_up_study(learning_rates=(0.0193,), seeds=2, endings=endings)
    study = replace(with_rate, workload=replace(with_rate.workload, takes_rate=False))
    files = [table.to_csv() for _, table in sweep_files(study).values()]

    assert "0.0193" in text_report(with_rate)
    assert not any("0.0193" in said for said in (text_report(study), html_page(study), *files))
    assert {rate for _, rate in Side(name="a", study=study).ends} == {None}


def test_the_screen_has_the_first_notes_and_the_folklore():
    said = " ".join(text_report(STUDY).split())

    notes = [str(sentence) for sentence in sentences(STUDY)]
    assert notes
    assert all(note in said for note in notes[:3])
    assert "Folklore: " in said


def of_unequal_lengths() -> Study:
    """Two seeds of batch size 64 that ended after 4 and 8 epochs, and one of 256 after 8."""
    long, short = made_up_study(epochs=8, seeds=2), made_up_study(epochs=4, seeds=2)
    kept = [r for r in long.records if (r.trial.batch_size, r.trial.seed) in ((64, 0), (256, 0))]
    kept += [r for r in short.records if (r.trial.batch_size, r.trial.seed) == (64, 1)]
    return replace(long, records=tuple(kept))


def test_unequal_lengths_have_a_column_for_equal_epochs_and_a_mean_time():
    study = of_unequal_lengths()
    table = sweep_table(study).by_key()
    seconds = [
        study.train_s(record.trial, record.steps)
        for record in study.records
        if record.trial.batch_size == 64
    ]

    assert "equal_epochs" in table
    assert "equal_epochs" not in sweep_table(STUDY).by_key()
    assert table["equal_epochs"] != table["validation"]
    assert table["equal_time_s"][0] == pytest.approx(sum(seconds) / 2)


def test_a_figure_is_saved_as_the_rows_that_it_draws(text):
    files = {a["download"]: a["href"] for a in Page(text).having("a") if "download" in a}
    figures = {figure.data: figure for figure in sweep_figures(STUDY) if figure.panels}

    assert len(figures) > 3
    for name, figure in figures.items():
        expected = rows_table(figure.rows).to_csv()
        packed = files.get(f"batchlab-{name}.csv.gz")
        if packed is not None:
            saved = gzip.decompress(base64.b64decode(packed.partition(",")[2])).decode()
        else:
            saved = unquote(files[f"batchlab-{name}.csv"].partition(",")[2])
        assert saved == expected
