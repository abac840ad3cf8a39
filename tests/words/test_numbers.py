"""Numbers in their forms, moments by the local clock, and texts with their values."""

from ast import literal_eval

import pytest

from batchlab.words.catalogue import listing, text
from batchlab.words.numbers import english_number, form_of

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
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_number_is_written_in_its_form(form):
    told = dict(pair.split(": ") for pair in WRITTEN[form].split("; "))

    assert {value: english_number(literal_eval(value), form) for value in told} == told


def test_a_quantity_is_its_own_form_and_a_users_metric_is_never_taken_for_one():
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
def test_a_text_has_its_values(message, values, said):
    assert text(message, **values) == said


def test_several_things_are_listed_as_one_speaks():
    sizes = ["16", "32", "64"]

    assert [listing(sizes[:n]) for n in (1, 2, 3)] == ["16", "16 and 32", "16, 32 and 64"]
