"""Numbers as programs print them, with a comma for thousands or before a fraction."""

from __future__ import annotations

import math
import re

import pytest

from batchlab.script.reading import NUMBER, NumberStyle, number_of, sure_number_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0,532", 0.532),
        ("-0,53", -0.53),
        ("12,5", 12.5),
        ("0,12345", 0.12345),
        ("1,2345e-3", 1.2345e-3),
        ("1234,567", 1234.567),
        ("1,234,567", 1234567.0),
        ("12,345.5", 12345.5),
        ("1,234", 1234.0),
        ("0.53,", 0.53),
        (".5", 0.5),
        ("NAN", math.nan),
        ("-Infinity", -math.inf),
        ("INF", math.inf),
    ],
)
def test_a_comma_is_read_as_what_it_can_be(text: str, number: float) -> None:
    found = re.fullmatch(rf"{NUMBER},?", text)

    assert found is not None
    assert number_of(text) == pytest.approx(number, nan_ok=True, rel=1e-12)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ((), (2531.0, False)),
        (("0,5",), (2.531, True)),
        (("0.5",), (2531.0, True)),
        (("1,234,567",), (2531.0, True)),
        (("0,5", "0.5"), (2531.0, False)),
        (("7", "3,141", "no.number"), (2531.0, False)),
    ],
)
def test_one_comma_and_three_digits_are_what_the_other_numbers_of_the_run_tell(
    seen: tuple[str, ...], told: tuple[float, bool]
) -> None:
    style = NumberStyle()
    for text in seen:
        style.see(text)

    assert style.number_of("2,531") == told
    assert sure_number_of("2,531") is None
