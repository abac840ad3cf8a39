"""Figures as charts: valid on a page and on paper, with the axes, colors and numbers they need."""

from __future__ import annotations

import re

import altair as alt
import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS
from tests.reference.shown import table_rows

from batchlab.records.estimate import Estimate
from batchlab.records.trial import Status
from batchlab.report.advice_figures import answer_figure
from batchlab.report.cells import figure_looks
from batchlab.report.chart import figure_image, page_svg, plot, value_axis
from batchlab.report.figure import LAYOUT, Figure, Panel, interval_mark, mark, rows_table
from batchlab.report.sweep_page import sweep_figures

STUDY = made_up_study(
    learning_rates=(0.01, 0.1),
    seeds=2,
    epochs=3,
    endings={(64, 0.01, 0): (Status.DIVERGED, "the loss grew", 2)},
)
LOOKS = figure_looks(STUDY)
FIGURE = {figure.key: figure for figure in sweep_figures(STUDY)}


@pytest.mark.slow
@pytest.mark.parametrize("key", FIGURE)
def test_every_plot_is_valid_vega_lite(key):
    for panel in FIGURE[key].panels:
        assert alt.LayerChart.from_dict(plot(panel, LOOKS), validate=True).layer


def layers(panel: Panel) -> list[dict]:
    return plot(panel, LOOKS)["layer"]


PANELS = {panel.key: panel for figure in FIGURE.values() for panel in figure.panels}


def test_a_chart_has_no_layer_that_would_draw_nothing():
    rows = [mark("curve", 1.0, batch_size=64), mark("rule", 2.0, batch_size=64)]
    bare = Panel("a-x", "x", "loss", rows)
    full = Panel("a-x", "x", "loss", [row | {"low": 0.5, "text": "so"} for row in rows])

    drawn, all_drawn = ([each["mark"]["type"] for each in layers(panel)] for panel in (bare, full))

    assert drawn == ["line", "line"]
    assert sorted(set(all_drawn) - set(drawn)) == ["area", "text"]
    assert len(all_drawn) == len(drawn) + 2


HORIZONTAL = {
    "b-epochs-validation-0": "epoch",
    "b-steps-train-1": "step",
    "b-time-train-2": "equal_time_s",
    **{"e-gap": "batch_size", "c-rates": "batch_size", "c-final": "learning_rate"},
}


@pytest.mark.parametrize(("key", "field"), HORIZONTAL.items())
def test_horizontal_axes_are_logarithmic_but_for_epochs(key, field):
    axis = plot(PANELS[key], LOOKS)["encoding"]["x"]

    assert axis["field"] == field
    assert (axis["scale"].get("type") == "log") == (field != "epoch")
    assert (axis["scale"].get("base") == 2) == (field == "batch_size")


def test_a_chart_is_the_same_every_time_with_identifiers_and_words_of_its_own():
    panel = PANELS["b-epochs-train-1"]
    marked = [row for row in panel.rows if row["marked"]]

    svg = page_svg(panel, LOOKS)

    assert svg == page_svg(panel, LOOKS)
    assert f'id="{panel.key}-clip0"' in svg
    assert "url(#clip" not in svg
    assert "var(--batch-64)" in svg
    assert svg.count('aria-label="batch size: ') == svg.count("aria-label=") == len(marked) > 3
    assert not re.search('aria-label="[^"]*(undefined|null|NaN)', svg)


def test_images_for_paper_have_plain_colours_and_a_legend():
    figure = FIGURE["a"]
    svg = figure_image(figure, figure.panels, LOOKS, "svg").decode()

    assert "var(--" not in svg
    assert "#D06000" in svg
    assert ">1024<" in svg
    assert figure_image(figure, figure.panels, LOOKS, "png").startswith(b"\x89PNG")


def axis(low: float, high: float, *, is_metric: bool = False) -> dict:
    rows = [{"kind": "run", "mean": low}, {"kind": "run", "mean": high}, {"kind": "place"}]
    return value_axis("step_s", rows, is_metric=is_metric)


@pytest.mark.parametrize(
    ("low", "high", "is_metric", "scale"),
    [
        (1.0, 2.0, False, "linear"),
        (1.0, 3.0, False, "log"),
        (1.0, 3.0, True, "linear"),
        (1.0, 31.0, True, "log"),
        (0.0, 31.0, True, "linear"),
        (-1.0, 31.0, False, "linear"),
    ],
)
def test_an_axis_is_logarithmic_where_its_values_span_enough(low, high, is_metric, scale):
    found = axis(low, high, is_metric=is_metric)["scale"]

    assert found["type"] == scale
    # No mark lies on the frame, but an axis that reaches to 0 ends there.
    assert found["domain"][0] < low or low == 0
    assert found["domain"][1] > high + 0.1 * (high - low)  # words at the top have room, too


def shifts(*rows: dict) -> list[tuple[str, int]]:
    """How words next to a mark at batch size 64 and 0.8 are aligned and moved down."""
    ends = [mark("point", value, batch_size=size) for size, value in ((16, 0.6), (512, 1.0))]
    *_, words = layers(Panel("a-x", "x", "loss", [*ends, *rows]))
    return [(row["align"], row["dy"]) for row in words["data"]["values"]]


def test_words_stand_on_a_side_of_their_mark_where_nothing_lies():
    words = mark("words", 0.8, batch_size=64, text="some words")
    at_right, at_left = (mark("point", 0.8, batch_size=size) for size in (128, 32))

    assert shifts(words) == [("left", 0)]
    assert shifts(words, at_right) == [("right", 0)]
    assert shifts(words, at_right, at_left) == [("left", -18)]
    assert shifts(words, words) == [("left", 0), ("right", 0)]
    assert len(shifts(*[words] * 40)) < 40  # those that would cover others are left out
    at = {"batch_size": 64, "step": 10, "epoch": 4.0}  # an axis of a single place
    rows = [{"kind": "curve", "mean": 0.5, **at}, {"kind": "level", "mean": 0.9, "text": "target"}]
    *_, target = layers(Panel("b-epochs", "x", "accuracy", rows, axis="epoch", is_metric=True))
    assert any(row.get("align") for row in target["data"]["values"])


def test_labels_of_a_ratio_axis_are_round_and_more_of_them_on_a_short_one():
    labels = {5.0: [1, 2, 3, 4], 20.0: [1, 2, 5, 10, 20], 1e3: [1, 3, 10, 30]}

    found = {high: axis(1.0, high)["axis"]["values"][: len(labels[high])] for high in labels}

    assert found == labels


def test_the_points_of_a_chart_have_words_in_its_table():
    known = Estimate.of(4.0, interval=(3.0, 5.0), n=3)
    rows = [
        *interval_mark("band", known, batch_size=64),
        *interval_mark("point", known, batch_size=64),
        mark("run", 4.5, batch_size=64),
        mark("run", 6.0, batch_size=128, learning_rate=0.1),
        mark("bound", 9.0, batch_size=128, learning_rate=0.2),
        mark("level", 5.0, text="limit"),
    ]
    panel = Panel("p", "time to target", "time_to_target_s", rows)
    figure = Figure("x", "x", "A figure", [panel], notes=(), needs="")

    assert list(figure.table.texts()) == [
        ("64", "4 s (95 %: 3 s to 5 s)", "3 observations"),
        ("64", "4.5 s", "one run"),
        ("128", "6 s", "one run, learning rate 0.1"),
        ("128", "more than 9 s", "one run, learning rate 0.2"),
    ]


def test_the_rows_of_a_figure_are_a_table_with_a_column_for_each_field_that_was_measured():
    figure = answer_figure(KINDS["ends_no_worse"]())

    rows = table_rows(rows_table(figure.rows))

    assert [row["kind"] for row in rows] == [row["kind"] for row in figure.rows]
    point = next(row for row in rows if row["kind"] == "point")
    assert point["low"] <= point["mean"] <= point["high"]
    assert not {*LAYOUT} & rows[0].keys()
