"""A replication in words, as JSON and as a page: what did not reproduce comes first."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import jsonschema
import pytest

from batchlab.records.estimate import Estimate, Reason
from batchlab.records.replication import (
    Arm,
    Drawing,
    DrawnPoint,
    JudgedClaim,
    PublishedRow,
    Range,
    Replication,
    Verdict,
)
from batchlab.report.replication import (
    ReplicationDocument,
    replication_document,
    replication_headline,
    replication_page,
    replication_text,
)
from batchlab.words.document import schema_text

ROW = PublishedRow(
    source="A paper 2026",
    quantity="test_accuracy",
    condition="SB",
    value="0.98",
    uncertainty="0.001",
    unit="",
    verified="yes",
    note="Table 1",
)


def claim(name: str, verdict: Verdict, code: str, **how: object) -> JudgedClaim:
    made = JudgedClaim(
        claim=name,
        source=(ROW,),
        quantity="accuracy",
        measured_as="test accuracy",
        published=Range(low=0.98, high=0.98),
        held_within=Range(low=0.975, high=0.985),
        measured=Estimate.of(0.9714, interval=(0.9708, 0.9721), n=3),
        verdict=verdict,
        why=Reason.of(code),
    )
    return replace(made, **how)  # type: ignore[arg-type]


def made_up() -> Replication:
    points = (
        DrawnPoint(series="measured", at=64, value=Estimate.of(0.97, interval=(0.96, 0.98), n=3)),
        DrawnPoint(series="measured", at=1024, value=Estimate.of(0.9, interval=(0.8, 0.95), n=3)),
        DrawnPoint(series="published", at=64, value=Estimate.of(0.98, n=1), is_published=True),
    )
    named = tuple(
        DrawnPoint(series="measured", at=name, value=Estimate.of(value, n=1))
        for name, value in (("SB", 0.98), ("LB|+LR", 0.97))
    )
    return Replication(
        name="paper2026",
        title="Do large batches generalize worse?",
        paper="A paper 2026, https://arxiv.org/abs/2601.00001",
        form="quick",
        created_at="2026-11-26T22:00:00+00:00",
        command="batchlab replicate paper2026",
        environment=(("torch", "2.13.0"),),
        protocol=("A network on digits.",),
        left_open=("The momentum.",),
        smaller=("epochs 4 for 30",),
        claims=(
            claim("It holds", "held", "interval_as_published"),
            claim("It is of the paper's size", "cannot_tell", "only_full_form"),
            claim("It is open", "cannot_tell", "interval_reaches_beyond"),
            claim("It does not hold", "did_not_hold", "interval_elsewhere"),
        ),
        drawings=(
            Drawing(title="By size", over="batch_size", quantity="accuracy", points=points),
            Drawing(title="By arm", over="configuration", quantity="accuracy", points=named),
        ),
        arms=(Arm(name="SB", asked="batch_sizes=(64,)", study="ab12", trials=3, finished=3),),
        spent_s=12.0,
        store="lab.db",
    )


def test_what_did_not_hold_is_read_first_and_what_only_the_full_form_tells_last() -> None:
    said = replication_text(made_up(), report=None)

    places = [said.index(words) for words in ("It does not hold", "It is open", "It holds")]
    assert places == sorted(places)
    assert "It is of the paper's size" not in said
    assert "1 claim is about the paper's sizes: only the full form can tell." in said
    assert replication_headline(made_up()) == (
        "paper2026, quick: of 4 claims, 1 held, 2 can't tell, 1 did not hold."
    )


def test_a_claim_is_told_with_both_numbers_their_tolerance_and_what_decided() -> None:
    said = " ".join(replication_text(made_up(), report=None).split())

    assert (
        "“It does not hold”: did not hold. Here 0.9714 (95 %: 0.9708 to 0.9721), published 0.9800 "
        "(holds from 0.9750 to 0.9850): test accuracy. None of the interval lies where the claim "
        "says."
    ) in said
    assert "“It holds”: held. Here 0.9714" in said
    for words in (
        "epochs 4 for 30",
        "The momentum.",
        "3 of 3 trainings, in one sweep.",
        "The store: lab.db",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("published", "within", "words"),
    [
        (None, None, "published no number:"),
        (Range(low=0.0, high=None), Range(low=0.0, high=None), "published above 0.0000:"),
        (Range(low=None, high=1.0), Range(low=None, high=1.0), "published below 1.0000:"),
        (
            Range(low=0.02, high=0.02),
            Range(low=0.0, high=None),
            "published 0.0200 (holds above 0.0000):",
        ),
    ],
)
def test_what_is_published_is_told_as_it_is(published, within, words) -> None:
    one = claim("x", "held", "interval_as_published", published=published, held_within=within)

    assert words in " ".join(
        replication_text(replace(made_up(), claims=(one,)), report=None).split()
    )


def test_a_number_that_was_not_found_in_a_source_is_said_to_be_unverified() -> None:
    one = claim("x", "held", "interval_as_published", source=(replace(ROW, verified="no"),))
    found = replace(made_up(), claims=(one,))

    assert "published 0.9800 (unverified; holds" in replication_text(found, report=None)
    assert "unverified" in replication_page(found)


def test_the_json_is_that_of_its_schema_and_holds_each_claim_with_its_rows() -> None:
    document = json.loads(json.dumps(replication_document(made_up(), report=None)))

    jsonschema.validate(document, json.loads(schema_text(ReplicationDocument)))
    assert document["command"] == "replicate"
    first = document["claims"][0]
    assert first["verdict"] == "held"
    assert first["published"] == {"low": 0.98, "high": 0.98}
    assert first["measured"]["estimate"] == 0.9714
    assert first["source"][0]["note"] == "Table 1"
    assert first["why_code"] == "interval_as_published"
    assert first["why"].startswith("all of the interval")


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within in ("h1", "h2", "h3"):
            self.headings.append(data.strip())
        self._within = ""


def test_the_page_has_verdicts_figures_and_sources_and_needs_nothing_from_elsewhere() -> None:
    page = replication_page(made_up())

    texts = _Texts()
    texts.feed(page)
    assert texts.headings[0] == "Do large batches generalize worse?"
    assert {"The claims", "Ours and the published", "Sources"} <= set(texts.headings)
    assert "(a) By size" in texts.headings
    assert page.count('class="still"') == 2
    assert 'class="verdict did_not_hold"' in page
    assert "Hollow points are published ones." in page
    assert "Table 1" in page
    assert "<script src" not in page


def test_without_a_figure_or_a_claim_of_size_the_page_is_whole() -> None:
    found = replace(made_up(), drawings=(), smaller=(), left_open=(), claims=made_up().claims[:1])

    assert "It holds" in replication_page(found)
    assert "only the full form" not in replication_page(found)


def test_a_notebook_shows_the_verdicts_and_its_dict_is_the_document() -> None:
    found = made_up()

    shown = found._repr_html_()
    assert shown is not None
    assert "It does not hold" in shown
    assert found.to_dict() == replication_document(found, report=None)
    assert repr(found) == (
        "Replication(name='paper2026', form='quick', held=1, did_not_hold=1, cannot_tell=2)"
    )
