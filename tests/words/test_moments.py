from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import advice_study, made_up_advice

from batchlab.report.advice_page import render_advice_html
from batchlab.report.sweep_page import html_page, sweep_document
from batchlab.words.numbers import moment_text


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "2026-03-29 00:30 UTC"),
        ("America/New_York", "2026-03-28 20:30 EDT"),
        ("Europe/Berlin", "2026-03-29 01:30 CET"),
        ("Asia/Kolkata", "2026-03-29 06:00 IST"),
    ],
)
def test_a_moment_is_shown_by_the_local_clock(
    zone: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        told = [moment_text(f"2026-03-29T00:30:00{given}") for given in ("Z", "+00:00", "")]
    time.tzset()

    assert told == [shown] * 3


@pytest.mark.usefixtures("in_tokyo")
def test_the_zone_is_that_of_the_day_shown() -> None:
    assert moment_text("2026-12-31T23:59:59+00:00") == "2027-01-01 08:59 JST"
    assert moment_text("later") == "later"


@pytest.mark.slow
@pytest.mark.usefixtures("in_tokyo")
def test_pages_show_the_local_time_and_json_keeps_utc(tmp_path) -> None:
    study = made_up_study(batch_sizes=(64,))
    advice = made_up_advice()
    asked = advice_study(advice)

    pages = (html_page(study), render_advice_html(advice, asked, None))

    for page in pages:
        assert "Started: 2026-01-01 09:00 JST" in page
        assert "2026-01-01T" not in page
    document = sweep_document(study, store=tmp_path / "lab.db", report=None)
    assert "JST" not in document
