"""An advice as a page."""

from __future__ import annotations

import html
from dataclasses import replace
from html import escape
from urllib.parse import unquote

import pytest
from tests.reference.by_day import by_day
from tests.reference.made_up_advice import (
    KINDS,
    KINDS_BY_DAY,
    advice_study,
    cannot_tell_advice,
    made_up_advice,
    with_endings,
)
from tests.reference.page import HOSTILE, Page

from batchlab.belief.evidence import Evidence
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_answer import advice_sentences
from batchlab.report.advice_figures import whole_trainings
from batchlab.report.advice_page import render_advice_html
from batchlab.report.advice_rows import answer_table, tried_table
from batchlab.report.sayings import claim_sentences

written = Reason.as_written
ADVICE = made_up_advice(sizes=(16, 64, 256, 1024))
STUDY = advice_study(ADVICE)


@pytest.fixture(scope="module")
def text() -> str:
    return render_advice_html(ADVICE, STUDY, None)


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_the_page_is_whole_fetches_nothing_and_holds_its_tables_as_files(text, page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    files = {a["download"]: unquote(a["href"].partition(",")[2]) for a in page.having("a")
             if "download" in a}  # fmt: skip

    assert (page.unmatched, page.open, page.fetched()) == ([], [], [])
    assert len(ids) == len(set(ids))
    assert len(text.encode()) < 5_000_000
    assert files["batchlab-candidates.csv"] == answer_table(ADVICE).to_csv()
    assert files["batchlab-runs.csv"] == tried_table(ADVICE).to_csv()


def test_the_answer_is_the_heading_and_every_sentence_is_there(text):
    answer, *others = advice_sentences(ADVICE, STUDY)
    read = text.replace("&#39;", "'").replace("\u00a0", " ")

    assert f"<h1>{escape(answer.text, quote=False)}</h1>" in read
    assert others[0].topic == "why"
    assert f'<p class="lead">{escape(others[0].text, quote=False)}</p>' in read
    for sentence in others[1:]:
        assert f"<dt>{sentence.topic}</dt>" in read
        assert escape(sentence.text, quote=False) in read


def test_each_figure_has_its_caption_with_where_it_is_from_and_its_rows(text, page):
    files = [link["download"] for link in page.having("a") if "download" in link]
    _, *captions = html.unescape(text).split('<ul class="notes">')

    assert len(captions) > 1
    assert {"batchlab-answer.csv", "batchlab-curves.csv"} <= set(files)
    for each in captions:
        caption, _, _ = each.partition("</li>\n</ul>")
        assert f"Study {STUDY.study_id}." in caption
        assert "Measured with batchlab " in caption
        assert caption.endswith(STUDY.command)


def test_every_chart_is_there_without_a_script_and_in_words(text, page):
    plots = [div for div in page.having("div") if div.get("class") == "plot"]

    assert " ".join(plot["id"] for plot in plots) == (
        "a-end a-objective b-epochs-validation-0 b-steps-validation-0 b-time-validation-0 c-rates "
        "d-step_s d-peak_bytes"
    )
    assert all(plot["role"] == "img" and len(plot["aria-label"]) > 40 for plot in plots)
    assert text.count('<svg xmlns="http://www.w3.org/2000/svg" xmlns') == len(plots)
    assert len(page.having("caption")) == len(page.having("table"))


def evidence(text: str) -> str:
    """The part of the page with the figures and what they do not show."""
    return text[text.index('<section id="figures"') : text.index('<section id="runs"')]


def test_what_the_runs_do_not_show_of_batch_sizes_is_said(text):
    said = html.unescape(evidence(text))

    assert "Training and held-out data: left out, as it takes two batch sizes with" in said


@pytest.mark.slow
def test_text_of_a_user_is_never_markup():
    advice = replace(
        ADVICE,
        reason=written(HOSTILE),
        target=replace(ADVICE.target, metric=HOSTILE),
        caveats=(written(HOSTILE),),
        steps=(replace(ADVICE.steps[0], did=written(HOSTILE), why=written(HOSTILE)),),
        candidates=tuple(replace(c, note=written(HOSTILE)) for c in ADVICE.candidates),
    )
    workload = replace(STUDY.workload, name=HOSTILE, reference=HOSTILE)

    text = render_advice_html(advice, replace(STUDY, workload=workload, command=HOSTILE), None)

    assert "<script>alert" not in text
    assert len(Page(text).having("script")) == 1
    assert Page(text).unmatched == []


def not_profiled():
    """The profile's part of a short budget ended before the others, and the pilot took the rest."""
    advice = cannot_tell_advice()
    own = tuple(run for run in advice.tried if run.batch_size == advice.reference.batch_size)
    none = Estimate.cannot_tell(Reason.of("not_trained"))
    unknown = dict.fromkeys(("step_s", "steps_to_target", "time_to_target_s", "cost"), none)
    candidates = tuple(
        replace(c, learning_rate=None, peak_bytes=None, **unknown) for c in advice.candidates
    )
    return replace(advice, tried=own, candidates=candidates, laws=None)


@pytest.mark.slow  # all of them in a browser: tests/report/test_every_page.py
@pytest.mark.parametrize("kind", [*by_day(KINDS, KINDS_BY_DAY), "not profiled"])
def test_every_kind_of_advice_gives_a_whole_page(kind):
    advice = (KINDS | {"not profiled": not_profiled})[kind]()

    page = Page(render_advice_html(advice, advice_study(advice), None))

    assert (page.unmatched, page.open) == ([], [])
    has_lines_to_paste = advice.recommendation is not None
    has_sayings = any(title.get("id") == "folklore-title" for title in page.having("h2"))
    assert len(page.having("h2")) == has_lines_to_paste + has_sayings + 3
    # The first figure has no heading of its own.
    cards = [each["id"] for each in page.having("h3") if "id" in each]
    assert set(cards) <= {f"figure-{key}-title" for key in "bcde"}


def test_the_sayings_are_held_against_whole_trainings_alone() -> None:
    advice = with_endings(made_up_advice(sizes=(16, 64, 256, 1024)))
    study = advice_study(advice)
    ended = [run for run in advice.tried if run.end is not None]

    whole = whole_trainings(advice, study)

    assert len(study.records) > len(whole.records) > 0
    assert {r.trial.batch_size for r in whole.records} == {run.batch_size for run in ended}
    claims = claim_sentences(Evidence.of(whole))
    text = html.unescape(render_advice_html(advice, study, None))
    assert len(claims) == 4
    for claim in claims:
        assert claim.text in text
