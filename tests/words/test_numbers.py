"""Numbers in their forms, moments by the local clock, and texts with their values."""

from __future__ import annotations

import time
from ast import literal_eval

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import advice_study, made_up_advice

from batchlab.report.advice_page import render_advice_html
from batchlab.report.sweep_page import html_page, sweep_document
from batchlab.words.catalogue import listing, text
from batchlab.words.numbers import english_number, form_of, moment_text

# A rate has the digits that it was given with, and two where it was computed: half an octave, a
# quarter and three quarters of one above 0.08 are what a search chooses.
RATES = (
    "0.0031415: 0.0031; 0.08: 0.08; 0.125: 0.125; 0.00316: 0.00316; 0.30000000000000004: 0.3; "
    f"{0.08 * 2**0.5}: 0.11; {0.08 * 2**0.25}: 0.095; {0.08 * 2**0.75}: 0.13; "
    f"0.0123456: 0.012; 0.0000123456: 1.2e-05; {2**0.5}: 1.4"
)
WRITTEN = {
    "step_s": "0.00255: 2.55 ms",
    "peak_bytes": "30_100_000: 30.1 MB",
    "samples_per_s": "145_200.0: 145 k/s",
    "ratio": "4.56: 4.56; 4557.0: 4,560",
    "percent": "0.1: 10 %; 0.123456: 12.3 %",
    "whole_percent": "0.99: 99 %",
    "times": "1.05: 1.05; 1.84: 1.8; 20.6: 21; 153.0: 150; 99.7: 100; 1234.0: 1,200",
    "rate": RATES,
    "learning_rate": RATES,
    "metric": "0.97312: 0.9731; 7: 7; 10.5: 10.5; 0.0: 0.0000",
    ",": "12_345: 12,345",
    "": "1.5: 1.5",
    # A time that is about this long has two digits.
    "about_seconds": "92.9: 93 s; 119.6: 2 min; 170.0: 2.8 min; 0.0123: 12 ms; 9_000.0: 2.5 h",
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_number_is_written_in_its_form(form: str) -> None:
    told = dict(pair.split(": ") for pair in WRITTEN[form].split("; "))

    assert {value: english_number(literal_eval(value), form) for value in told} == told


def test_a_quantity_is_its_own_form_and_a_users_metric_is_never_taken_for_one() -> None:
    assert form_of("train_s", "s") == "train_s"
    assert english_number(2e6, form_of("kept_bytes", "B")) == "2 MB"
    for name in ("percent", "top-5", "rate", ".3g", "my metric"):
        assert english_number(0.97312, form_of(name, "")) == "0.9731"
    with pytest.raises(ValueError, match="format"):
        english_number(1.5, "no_such_form")


@pytest.mark.parametrize(
    ("message", "values", "said"),
    [
        ("{s:train_s}, {left:.2f} of {x}", {"s": 90, "left": 0.456, "x": "it"}, "90 s, 0.46 of it"),
        ("{a:train_s} and {b}", {"a": None, "b": None}, "– and –"),
        *(("{n:1 run|# runs}", {"n": n}, s) for n, s in ((1, "1 run"), (0, "0 runs"))),
        ("{n:1 run|# runs}", {"n": 7}, "7 runs"),
    ],
)
def test_a_text_has_its_values(message, values, said) -> None:
    assert text(message, **values) == said


def test_several_things_are_listed_as_one_speaks_and_a_value_reaches_no_attribute() -> None:
    sizes = ["16", "32", "64"]

    assert [listing(sizes[:n]) for n in (1, 2, 3)] == ["16", "16 and 32", "16, 32 and 64"]
    with pytest.raises(KeyError):
        text("{name.__class__}", name="x")


@pytest.fixture
def in_zone():
    with pytest.MonkeyPatch.context() as patch:
        yield lambda zone: (patch.setenv("TZ", zone), time.tzset())
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
def test_a_moment_is_shown_by_the_local_clock(zone, shown, in_zone) -> None:
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
    assert "JST" not in sweep_document(study, store=tmp_path / "lab.db", report=None)
