"""Columns of a store: what goes in comes out, and nothing else is taken."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.store.schema import JsonColumn, UnreadableColumn, kept_reason, reason_kept
from batchlab.words.reasons import reason_text


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


GREW = Reason.of(
    "losses_far_above_untrained",
    n=3,
    seen=(Reason.of("loss_seen", loss=21.5), Reason.of("loss_seen_not_finite")),
    factor=10.0,
    first=2.0,
)


@pytest.mark.parametrize(
    "reason",
    [
        GREW,
        Reason.of("out_of_time"),
        Reason.as_written('{"code": "out_of_time"}'),
        Reason.of("user_error", error="OSError", text="no such file"),
    ],
)
def test_a_reason_reads_back_as_it_was(reason: Reason) -> None:
    assert reason_kept(kept_reason(reason)) == reason


@pytest.mark.parametrize("text", ["", "no such file", "12", '{"code":"out_of_time"}', "[1]"])
def test_a_text_that_another_program_wrote_is_as_written(text: str) -> None:
    assert reason_kept(text) == Reason.as_written(text)


def test_what_this_version_cannot_say_is_read_as_its_text() -> None:
    later = json.dumps(json.loads(kept_reason(GREW)) | {"code": "of a later version"})

    assert reason_kept(later) == Reason.as_written(reason_text(GREW))


def test_text_that_utf_8_cannot_hold_is_spelled_out_at_every_depth() -> None:
    inner = Reason.as_written("caf\udce9")
    kept = kept_reason(Reason.of("as_written", text=(inner, "\udce9")))

    assert reason_text(reason_kept(kept)) == "caf\\udce9, \\udce9"
