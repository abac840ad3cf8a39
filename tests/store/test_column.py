from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlab.errors import StoreError
from batchlab.store.schema import JsonColumn, UnreadableColumn


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    x: float
    label: str | int | float | bool | None


COLUMN = JsonColumn[tuple[Point, ...]](tuple[Point, ...])
floats = st.floats(allow_nan=False, allow_infinity=False)
labels = st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | floats | st.booleans()
points = st.builds(Point, x=floats, label=labels | st.none())


@given(st.lists(points, max_size=3).map(tuple))
def test_a_value_reads_back_bit_for_bit(value):
    text = COLUMN.encoded(value, "points")

    assert repr(COLUMN.decoded(text, "points")) == repr(value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", ["x", "label"])
def test_a_number_that_is_not_finite_is_named(place, bad):
    good = {"x": 1.0, "label": 2.0}

    with pytest.raises(StoreError, match=rf"^points: \[1\]\.{place} is {bad}, .* give None"):
        COLUMN.encoded((Point(**good), Point(**(good | {place: bad}))), "points")


@pytest.mark.parametrize("value", [[Point(x=1.0, label=None)], (Point(x="1", label=None),)])
def test_a_value_that_would_come_back_as_another_is_refused(value):
    with pytest.raises(StoreError, match=r"^points was not stored"):
        COLUMN.encoded(value, "points")


@pytest.mark.parametrize("text", ["", "[", "null", '[{"x": "1", "label": null}]', '[{"x": 1}]'])
def test_a_text_that_was_not_written_by_it_is_not_guessed_at(text):
    with pytest.raises(UnreadableColumn, match=r"^points$"):
        COLUMN.decoded(text, "points")
