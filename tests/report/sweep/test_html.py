from __future__ import annotations

import base64
import gzip
from dataclasses import replace
from html import escape
from urllib.parse import unquote

import pytest
from tests.reference.made_up import made_up_study, with_validation_alone
from tests.reference.page import HOSTILE, Page

from batchlab.errors import BatchlabError
from batchlab.laws.plateau import plateau_of
from batchlab.records.trial import Status
from batchlab.report import cells, write_html
from batchlab.report import sweep_page as html_module
from batchlab.report.cells import observations_table
from batchlab.report.effects import effect_sentences
from batchlab.report.page import download
from batchlab.report.sweep_claims import claim_sentences, conclusion, sentences
from batchlab.report.sweep_evidence import Evidence
from batchlab.report.sweep_page import html_page
from batchlab.report.sweep_tables import finals_table, races_table, trials_table

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


def test_the_page_is_well_formed_and_small(text, page):
    assert page.unmatched == []
    assert page.open == []
    assert len(text.encode()) < 5_000_000


def test_identifiers_are_unique(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]

    assert len(ids) == len(set(ids))


def test_the_page_names_no_address_that_a_browser_would_fetch(page):
    assert page.fetched() == []


def test_the_browser_is_told_to_fetch_nothing(page):
    (policy,) = [m["content"] for m in page.having("meta") if m.get("http-equiv")]

    allowed = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert allowed["default-src"] == "'none'"
    assert not any(word in policy for word in ("http", "*", "'self'"))


def test_every_chart_is_there_without_a_script(text, page):
    plots = [div["id"] for div in page.having("div") if div.get("class") == "plot"]

    assert len(plots) == 3 * 3 + 2 + 3 + 1
    assert text.count('<div class="still" aria-hidden="true"><svg') == len(plots)


def test_every_chart_has_a_text_alternative_and_every_table_a_caption(page):
    plots = [div for div in page.having("div") if div.get("class") == "plot"]

    assert all(div["role"] == "img" and len(div["aria-label"]) > 40 for div in plots)
    assert len(page.having("caption")) == len(page.having("table"))


def test_one_switch_has_the_three_views(page):
    radios = [i for i in page.having("input") if i.get("type") == "radio"]

    assert [radio["value"] for radio in radios] == ["epochs", "steps", "time"]
    assert {radio["name"] for radio in radios} == {"view"}


def test_bad_trials_are_named_with_their_reason(text):
    assert "seed 1: diverged at epoch 2: the loss grew a thousandfold" in text


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
    for said in (found.headline, found.lead, *effect_sentences(STUDY).values()):
        assert text.count(escape(said, quote=False)) == 1
    assert '<strong class="verdict did_not_hold">did not hold</strong>' in text


def test_every_mean_and_every_difference_has_its_interval_on_the_page(text):
    for table in (races_table(Evidence.of(STUDY)), finals_table(Evidence.of(STUDY))):
        assert len(table.rows) >= 3
        for cell in (cell for row in table.texts() for cell in row):
            assert f">{escape(cell, quote=False)}</td>" in text


def test_the_command_and_the_environment_are_there(text):
    assert "<code>batchlab sweep made-up --batch-sizes 64,256,full</code>" in text
    assert "<dt>torch</dt><dd>2.13.0</dd>" in text


def test_the_raw_data_can_be_taken_out_without_a_script(page):
    files = {a["download"]: a["href"] for a in page.having("a") if "download" in a}

    assert unquote(files["batchlab-trials.csv"].partition(",")[2]) == trials_table(STUDY).to_csv()
    assert (
        unquote(files["batchlab-observations.csv"].partition(",")[2])
        == observations_table(STUDY).to_csv()
    )


def test_data_too_large_for_an_address_are_packed():
    table = observations_table(STUDY)

    file = download("data.csv", "rows", table, most_characters=10_000)

    packed = file.address.partition(",")[2]
    assert file.name == "data.csv.gz"
    assert gzip.decompress(base64.b64decode(packed)).decode() == table.to_csv()


def test_data_too_large_even_packed_are_not_embedded():
    file = download("data.csv", "rows", observations_table(STUDY), most_characters=100)

    assert file.address is None


@pytest.mark.slow
def test_the_plateau_of_a_trial_is_fitted_once_for_a_page(monkeypatch):
    fitted = []

    def counted(record, **named):
        fitted.append(record.trial.trial_id)
        return plateau_of(record, **named)

    monkeypatch.setattr(cells, "plateau_of", counted)
    cells.plateaus_of.cache_clear()
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
    assert len(Page(text).having("script")) == 3
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
    always = {"along-title", "seen-title", "trials-title", "origin-title"}
    always |= {f"figure-{key}-title" for key in "efg"}
    assert always <= titles
    assert titles - always <= {"effects-title", "folklore-title"}
    assert len(page.having("h1")) == 1


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(html_module, "html_page", lambda study: "new")
    tmp_path.chmod(0o500)

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(BatchlabError, match="what was there before is unchanged"):
        write_html(STUDY, path)

    tmp_path.chmod(0o700)
    assert path.read_text() == "old"


@pytest.mark.slow
def test_a_source_in_a_note_is_a_link():
    study = made_up_study(batch_sizes=(64,))
    evaluations = study.records[0].evaluations
    last = replace(evaluations[-1], measured=(("noise_scale", 100.0),))
    record = replace(study.records[0], evaluations=(*evaluations[:-1], last))

    page = html_page(replace(study, records=(record,)))

    assert 'href="https://arxiv.org/abs/1812.06162"' in page


@pytest.mark.slow
def test_a_page_of_validation_metrics_alone_draws_no_gap():
    page = html_page(with_validation_alone(replace(made_up_study(n_test=0), command="")))

    assert "final accuracy: validation" in page
    assert "generalization gap: train" not in page
