from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import advice_study, made_up_advice

from batchlab.report.advice_page import render_advice_html
from batchlab.report.sweep_page import html_page, sweep_document
from batchlab.words.numbers import moment_text


@pytest.fixture
def in_zone() -> Iterator[Callable[[str], None]]:
    with pytest.MonkeyPatch.context() as patch:

        def move(zone: str) -> None:
            patch.setenv("TZ", zone)
            time.tzset()

        yield move
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "2026-03-29 00:30 UTC"),
        ("America/New_York", "2026-03-28 20:30 EDT"),
        ("Europe/Berlin", "2026-03-29 01:30 CET"),
        ("Asia/Kolkata", "2026-03-29 06:00 IST"),
        ("Asia/Tokyo", "2026-03-29 09:30 JST"),
    ],
)
def test_a_moment_is_shown_by_the_local_clock(
    zone: str, shown: str, in_zone: Callable[[str], None]
) -> None:
    in_zone(zone)

    told = [moment_text(f"2026-03-29T00:30:00{given}") for given in ("Z", "+00:00", "")]

    assert told == [shown] * 3
    assert moment_text("later") == "later"


@pytest.mark.slow
def test_pages_show_the_local_time_and_json_keeps_utc(tmp_path, in_zone) -> None:
    in_zone("Asia/Tokyo")
    study, advice = made_up_study(batch_sizes=(64,)), made_up_advice()

    for page in (html_page(study), render_advice_html(advice, advice_study(advice), None)):
        assert "Started: 2026-01-01 09:00 JST" in page
        assert "2026-01-01T" not in page
    document = sweep_document(study, store=tmp_path / "lab.db", report=None)
    assert "JST" not in document
