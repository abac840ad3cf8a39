"""A chart of one quantity against the batch size: its marks, and room for them."""

from __future__ import annotations

import pytest

from batchlab.report.cells import Spread, size_rows
from batchlab.report.parts.charts.canvas import PAGE
from batchlab.report.parts.figure import Row
from batchlab.report.parts.palette import looks
from batchlab.report.parts.size_panel import size_panel

LOOKS = looks([64, 256], n_train=4096)


def domain(*rows: Row, has_zero: bool = False) -> list[float]:
    """The vertical axis of the panel with these rows."""
    panel = size_panel(
        "data",
        rows,
        LOOKS,
        key="a",
        quantity="epoch",
        title="epochs",
        series=("end",),
        has_zero=has_zero,
    )
    layers = panel.plot(canvas=PAGE).to_dict()["layer"]
    scales = [
        y["scale"]["domain"]
        for layer in layers
        if "domain" in (y := layer.get("encoding", {}).get("y", {})).get("scale", {})
    ]
    return scales[0]


def mark(size: int, value: float, *, panel: str = "a") -> Row:
    named = {"panel": panel, "series": "end", "batch": str(size)}
    return next(size_rows(named, size, value, Spread(values=(value,))))


def arrow(size: int, value: float) -> Row:
    return {"panel": "a", "kind": "bound", "batch": str(size), "batch_size": size, "mean": value}


def test_no_mark_lies_on_the_frame() -> None:
    low, high = domain(mark(64, 4.0), mark(256, 6.0))

    assert low < 4.0
    assert high > 6.0


def test_an_arrow_has_more_room_above_it() -> None:
    assert domain(mark(64, 4.0), arrow(256, 6.0))[1] > domain(mark(64, 4.0), mark(256, 6.0))[1]


def test_a_wide_range_is_left_to_its_logarithmic_axis() -> None:
    low, high = domain(mark(64, 1.0), mark(256, 100.0))

    assert 0 < low < 1.0
    assert 100.0 < high < 200.0


def test_the_axis_of_a_difference_reaches_to_zero() -> None:
    assert domain(mark(64, 4.0), mark(256, 6.0), has_zero=True) == [0.0, 6.0]


def test_rows_of_other_panels_are_not_told() -> None:
    panel = size_panel(
        "data",
        (mark(64, 4.0), mark(256, 6.0, panel="b")),
        LOOKS,
        key="a",
        quantity="epoch",
        title="epochs",
        series=("end",),
    )

    assert panel.alternative == "Chart of epochs against batch size. 64: 4."


@pytest.mark.parametrize("what", ["words of its own", None])
def test_a_panel_is_told_by_its_title_or_by_words_of_its_own(what: str | None) -> None:
    panel = size_panel(
        "data",
        (mark(64, 4.0),),
        LOOKS,
        key="a",
        quantity="epoch",
        title="epochs",
        what=what,
        series=("end",),
    )

    assert panel.alternative.startswith(f"Chart of {what or 'epochs'} against batch size.")
