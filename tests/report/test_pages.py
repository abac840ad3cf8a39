"""The pages of an advice and of a sweep: whole, with every sentence, chart, table and file."""

import base64
import gzip
import html
from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import advice_study, made_up_advice, with_endings
from tests.reference.made_up_profile import made_up_profile
from tests.reference.page import HOSTILE, Page

from batchlab.advice.advice import Advice
from batchlab.belief.evidence import Evidence
from batchlab.records.estimate import Reason
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.report import page
from batchlab.report.advice_answer import advice_sentences
from batchlab.report.advice_figures import whole_trainings
from batchlab.report.advice_page import advice_files, render_advice_html
from batchlab.report.sayings import claim_sentences
from batchlab.report.sweep_answer import conclusion, sentences
from batchlab.report.sweep_page import html_page, sweep_files

written = Reason.as_written
ADVICE = made_up_advice(sizes=(16, 64, 256, 1024))
BEHIND = advice_study(ADVICE)
SWEEP = replace(
    made_up_study(
        batch_sizes=(64, 256, 4096),
        seeds=2,
        epochs=3,
        metrics=[("loss", "lower")],
        endings={(256, 0.01, 1): (Status.DIVERGED, "the loss grew a thousandfold", 2)},
    ),
    command="batchlab sweep made-up --batch-sizes 64,256,full",
)
COMMANDS = {"advice": BEHIND.command, "sweep": SWEEP.command}


def read(text: str) -> str:
    return html.unescape(text).replace("\u00a0", " ")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    advice = render_advice_html(ADVICE, BEHIND, made_up_profile())
    return {"advice": advice, "sweep": html_page(SWEEP)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_is_whole_fetches_nothing_and_has_every_chart_without_a_script(pages, name):
    text, page = pages[name], Page(pages[name])
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    plots = [div for div in page.having("div") if div.get("class") == "plot"]
    (policy,) = [m["content"] for m in page.having("meta") if m.get("http-equiv")]

    assert (page.unmatched, page.open, page.fetched()) == ([], [], [])
    assert len(ids) == len(set(ids))
    assert len(text.encode()) < 5_000_000
    assert "default-src 'none'" in policy
    assert not any(word in policy for word in ("http", "*", "'self'"))
    assert len(plots) > 5
    assert all(div["role"] == "img" and len(div["aria-label"]) > 40 for div in plots)
    assert text.count('<svg xmlns="http://www.w3.org/2000/svg" xmlns') == len(plots)
    assert len(page.having("caption")) == len(page.having("table"))
    _, *captions = read(text).split('<ul class="notes">')
    sources = [caption.partition("</li>\n</ul>")[0] for caption in captions]
    assert len(sources) > 1
    for source in sources:  # each figure says where it is from
        assert "Measured with batchlab " in source
        assert source.endswith(COMMANDS[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_tables_are_files_in_the_page_unless_too_large(pages, name, monkeypatch):
    saved = {}
    for link in Page(pages[name]).having("a"):
        if "download" in link:
            packed = base64.b64decode(link["href"].partition(",")[2])
            saved[link["download"]] = gzip.decompress(packed)
    tables = advice_files(ADVICE, BEHIND) if name == "advice" else sweep_files(SWEEP)

    monkeypatch.setattr(page, "MOST_ADDRESS_CHARACTERS", 100)

    for key, table in tables.items():
        assert saved.pop(f"batchlab-{key}.csv.gz") == table.to_csv().encode()
    assert saved == {}
    assert page.csv_address(tables["observations"]) is None


def test_all_that_is_said_stands_on_the_page_once_under_its_topic(pages):
    advice, sweep = read(pages["advice"]), read(pages["sweep"])
    answer, why, *others = advice_sentences(ADVICE)
    claims = claim_sentences(Evidence.of(SWEEP))

    assert f"<h1>{answer.text}</h1>" in advice
    assert f'<p class="lead">{why.text}</p>' in advice
    for text, said in ((advice, others), (sweep, sentences(SWEEP))):
        for sentence in said:
            assert f"<dt>{sentence.topic}</dt>" in text
            assert text.count(sentence.text) == 1
    assert [sweep.count(said) for said in conclusion(SWEEP)] == [1, 1]
    assert len(claims) == 4
    for claim in claims:
        assert sweep.count(f'<dt>“{claim.topic}”</dt>\n<dd><strong class="verdict') == 1
        assert claim.text in sweep
    assert '<strong class="verdict did_not_hold">did not hold</strong>' in sweep


WRITTEN = written(HOSTILE)


def hostile_advice() -> tuple[Advice, str]:
    step = replace(ADVICE.steps[0], did=WRITTEN, why=WRITTEN)
    candidates = tuple(replace(each, note=WRITTEN) for each in ADVICE.candidates)
    target = replace(ADVICE.target, metric=HOSTILE)
    said = {"reason": WRITTEN, "caveats": (WRITTEN,), "steps": (step,), "candidates": candidates}
    workload = replace(BEHIND.workload, name=HOSTILE, reference=HOSTILE)
    study = replace(BEHIND, workload=workload, command=HOSTILE)
    advice = replace(ADVICE, target=target, **said)
    return advice, render_advice_html(advice, study, made_up_profile())


def hostile_sweep() -> tuple[Study, str]:
    study = made_up_study(
        **{"epochs": 1, "timed": False, "seeds": 2, "metrics": [(HOSTILE, "higher")]},
        curves=lambda *_: {(split, HOSTILE): lambda epoch: epoch for split in ("train", "test")},
        endings={(64, 0.01, 0): (Status.ERROR, HOSTILE, 1)},
    )
    told = {"name": HOSTILE, "reference": HOSTILE, "warnings": (HOSTILE,)}
    workload = replace(study.workload, settings=(("s", HOSTILE),), **told)
    environment = ((HOSTILE, HOSTILE),)
    study = replace(study, workload=workload, command=HOSTILE, environment=environment)
    return study, html_page(study)


@pytest.mark.slow
@pytest.mark.parametrize("make", [hostile_advice, hostile_sweep])
def test_text_of_a_user_is_never_markup_on_a_page_or_in_a_notebook(make) -> None:
    record, text = make()

    for shown, n_scripts in ((text, 1), (record._repr_html_(), 0)):
        page = Page(shown)
        assert "<script>alert" not in shown
        assert "&lt;script&gt;" in shown
        assert len(page.having("script")) == n_scripts
        assert (page.having("b"), page.unmatched, page.open) == ([], [], [])
    assert "{{7*7}}" in text


def test_the_sayings_are_held_against_whole_trainings_alone(undrawn) -> None:
    advice = with_endings(ADVICE)
    study = advice_study(advice)
    ended = [run for run in advice.tried if run.end is not None]

    whole = whole_trainings(advice, study)

    assert len(study.records) > len(whole.records) > 0
    assert {r.trial.batch_size for r in whole.records} == {run.batch_size for run in ended}
    claims = claim_sentences(Evidence.of(whole))
    text = read(render_advice_html(advice, study, made_up_profile()))
    assert [claim.text in text for claim in claims] == [True] * 4
