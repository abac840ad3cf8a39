from __future__ import annotations

import pytest

from batchlab.words.numbers import english_number, form_of


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.00255, "step_s", "2.55 ms"),
        (30_100_000, "peak_bytes", "30.1 MB"),
        (145_200.0, "samples_per_s", "145 k/s"),
        (4.56, "ratio", "4.56"),
        (4557.0, "ratio", "4,560"),
        (0.1, "percent", "10 %"),
        (0.123456, "percent", "12.3 %"),
        (1.05, "times", "1.05"),
        (1.84, "times", "1.8"),
        (20.6, "times", "21"),
        (153.0, "times", "150"),
        (99.7, "times", "100"),
        (1234.0, "times", "1,200"),
        (0.0031415, "rate", "0.0031"),
        (0.97312, "metric", "0.9731"),
        (7, "metric", "7"),
        (10.5, "metric", "10.5"),
        (0.0, "metric", "0.0000"),
        (0.99, "whole_percent", "99 %"),
        (12_345, ",", "12,345"),
        (1.5, "", "1.5"),
        # A time that is about this long has two digits.
        *((92.9, "about_seconds", "93 s"), (119.6, "about_seconds", "2 min")),
        *((170.0, "about_seconds", "2.8 min"), (0.0123, "about_seconds", "12 ms")),
        (9_000.0, "about_seconds", "2.5 h"),
    ],
)
def test_a_number_is_written_in_its_form(value: float, form: str, text: str) -> None:
    assert english_number(value, form) == text


@pytest.mark.parametrize("name", ["percent", "top-5", "rate", ".3g", "my metric"])
def test_the_name_of_a_users_metric_is_never_taken_for_a_form(name: str) -> None:
    assert english_number(0.97312, form_of(name, "")) == "0.9731"


def test_a_quantity_is_its_own_form() -> None:
    assert form_of("train_s", "s") == "train_s"
    assert english_number(2e6, form_of("kept_bytes", "B")) == "2 MB"


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        english_number(1.5, "no_such_form")


@pytest.mark.parametrize("form", ["rate", "learning_rate"])
@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        *((0.08, "0.08"), (0.125, "0.125"), (0.00316, "0.00316"), (0.1 + 0.2, "0.3")),
        # Half an octave, a quarter and three quarters of one above 0.08: what a search chooses.
        *((0.08 * 2**0.5, "0.11"), (0.08 * 2**0.25, "0.095"), (0.08 * 2**0.75, "0.13")),
        *((0.0123456, "0.012"), (0.000_0123456, "1.2e-05"), (2.0**0.5, "1.4")),
    ],
)
def test_a_rate_has_the_digits_that_it_was_given_with_and_two_where_it_was_computed(
    form: str, rate: float, shown: str
) -> None:
    assert english_number(rate, form) == shown
