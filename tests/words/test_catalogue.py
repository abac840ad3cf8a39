from __future__ import annotations

import pytest

from batchlab.words.catalogue import listing, number_text, text


def test_a_text_has_its_values() -> None:
    said = text("took {spent_s:train_s}, {left:.2f} of {what}", spent_s=90, left=0.456, what="it")

    assert said == "took 90 s, 0.46 of it"


def test_a_value_that_is_not_known_is_a_dash() -> None:
    assert text("{a:train_s} and {b}", a=None, b=None) == "– and –"
    assert number_text(None, "train_s") == "–"


@pytest.mark.parametrize(("n", "said"), [(1, "1 run"), (0, "0 runs"), (7, "7 runs")])
def test_a_count_chooses_the_form_of_its_text(n: int, said: str) -> None:
    assert text("{n:1 run|# runs}", n=n) == said


@pytest.mark.parametrize(
    ("parts", "said"),
    [(["16"], "16"), (["16", "32"], "16 and 32"), (["16", "32", "64"], "16, 32 and 64")],
)
def test_several_things_are_listed_as_one_speaks(parts: list[str], said: str) -> None:
    assert listing(parts) == said


def test_a_value_reaches_no_attribute() -> None:
    with pytest.raises(KeyError):
        text("{name.__class__}", name="x")
