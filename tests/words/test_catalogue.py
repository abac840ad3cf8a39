from __future__ import annotations

import pytest

from batchlab.words.catalogue import listing, text


@pytest.mark.parametrize(
    ("message", "values", "said"),
    [
        (
            "{s:train_s}, {left:.2f} of {it}",
            {"s": 90, "left": 0.456, "it": "it"},
            "90 s, 0.46 of it",
        ),
        ("{a:train_s} and {b}", {"a": None, "b": None}, "– and –"),
        ("{n:1 run|# runs}", {"n": 1}, "1 run"),
        ("{n:1 run|# runs}", {"n": 0}, "0 runs"),
        ("{n:1 run|# runs}", {"n": 7}, "7 runs"),
    ],
)
def test_a_text_has_its_values(message: str, values: dict[str, float | str], said: str) -> None:
    assert text(message, **values) == said


def test_several_things_are_listed_as_one_speaks() -> None:
    sizes = ["16", "32", "64"]

    assert [listing(sizes[:n]) for n in (1, 2, 3)] == ["16", "16 and 32", "16, 32 and 64"]


def test_a_value_reaches_no_attribute() -> None:
    with pytest.raises(KeyError):
        text("{name.__class__}", name="x")
