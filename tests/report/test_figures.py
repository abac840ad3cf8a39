"""Figures as charts: valid on a page and on paper, with the axes, colors and numbers they need."""

from __future__ import annotations

import csv
import json
import re

import altair as alt
import pytest
import vl_convert
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS

from batchlab.records.estimate import Estimate
from batchlab.records.trial import Status
from batchlab.report.advice_figures import answer_figure
from batchlab.report.cells import figure_looks
from batchlab.report.chart import (
    NothingToDrawError,
    figure_image,
    page_spec,
    plot,
    still_svg,
    value_axis,
    write_figure_images,
)
from batchlab.report.figure import (
    Figure,
    Panel,
    interval_mark,
    mark,
    script_json,
    write_figure_rows,
)
from batchlab.report.pointer import number_expression
from batchlab.report.sweep_page import sweep_figures
from batchlab.report.text import quantity_text

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


PANELS = {panel.key: panel for figure in FIGURE.values() for panel in figure.panels}


def test_a_chart_has_no_layer_that_would_draw_nothing():
    rows = [mark("curve", 1.0, batch_size=64), mark("rule", 2.0, batch_size=64)]
    bare = Panel("a-x", "x", "loss", rows)
    full = Panel("a-x", "x", "loss", [row | {"low": 0.5, "text": "so"} for row in rows])

    drawn, all_drawn = (
        [layer["mark"]["type"] for layer in plot(panel, LOOKS)["layer"]] for panel in (bare, full)
    )

    assert drawn == ["line", "line", "point"]  # the last is what answers the pointer
    assert sorted(set(all_drawn) - set(drawn)) == ["area", "text"]
    assert len(all_drawn) == len(drawn) + 2


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("b-epochs-validation-0", "epoch"),
        ("b-steps-train-1", "step"),
        ("b-time-train-2", "equal_time_s"),
        ("e-gap", "batch_size"),
        ("c-rates", "batch_size"),
        ("c-final", "learning_rate"),
    ],
)
def test_horizontal_axes_are_logarithmic_but_for_epochs(key, field):
    axis = page_spec(PANELS[key], LOOKS)["encoding"]["x"]

    assert axis["field"] == field
    assert (axis["scale"].get("type") == "log") == (field != "epoch")
    assert (axis["scale"].get("base") == 2) == (field == "batch_size")


def test_a_still_image_is_the_same_every_time_with_identifiers_of_its_own():
    figure = FIGURE["b"]
    spec = page_spec(figure.panels[0], LOOKS)

    svg = still_svg(figure.panels[0], spec, figure.rows, prefix="a-1")

    assert svg == still_svg(figure.panels[0], spec, figure.rows, prefix="a-1")
    assert 'opacity="0"' not in svg  # what answers the pointer
    assert 'id="a-1-clip0"' in svg
    assert "url(#clip" not in svg
    assert "var(--batch-64)" in svg


def test_images_for_paper_have_plain_colours_and_a_legend():
    figure = FIGURE["a"]
    svg = figure_image(figure, figure.panels, LOOKS, "svg").decode()

    assert "var(--" not in svg
    assert "#D06000" in svg
    assert ">1024<" in svg
    assert figure_image(figure, figure.panels, LOOKS, "png").startswith(b"\x89PNG")


def test_json_in_a_script_element_cannot_end_it():
    text = script_json({"name": "</script><script>alert(1)</script>&<!--"})

    assert "<" not in text
    assert json.loads(text) == {"name": "</script><script>alert(1)</script>&<!--"}


def axis(low: float, high: float, *, is_metric: bool = False) -> dict:
    rows = [{"kind": "point", "mean": value} for value in (low, high)]
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
    assert found["domain"][1] > high


def test_words_at_the_top_have_room_above_what_is_drawn():
    rows = [{"kind": "run", "mean": 1.0}, {"kind": "run", "mean": 2.0}, {"kind": "place"}]

    assert value_axis("step_s", rows)["scale"]["domain"][1] >= 2.12


@pytest.mark.parametrize(
    ("high", "labels"), [(5.0, [1, 2, 3, 4]), (20.0, [1, 2, 5, 10, 20]), (1e3, [1, 3, 10, 30])]
)
def test_labels_of_a_ratio_axis_are_round_and_more_of_them_on_a_short_one(high, labels):
    assert axis(1.0, high)["axis"]["values"][: len(labels)] == labels


PANEL = Panel(
    "p",
    "time to target",
    "time_to_target_s",
    [
        *interval_mark("band", Estimate.of(4.0, interval=(3.0, 5.0), n=3), batch_size=64),
        *interval_mark("point", Estimate.of(4.0, interval=(3.0, 5.0), n=3), batch_size=64),
        mark("run", 4.5, batch_size=64),
        mark("run", 6.0, batch_size=128, seed=1),
        mark("bound", 9.0, batch_size=128, seed=2),
        mark("level", 5.0, text="limit"),
    ],
)


def test_rows_are_told_in_words_and_in_a_table_once_each():
    table = Figure("x", "x", "A figure", [PANEL], notes=(), nothing="").table

    assert "64: 4 s (3 s to 5 s); 128: 6 s, more than 9 s." in PANEL.alternative
    assert table.to_csv().splitlines() == [
        "batch_size,seed,p,p-low,p-high,n,p-bound",
        "64,,4.0,3.0,5.0,3,",
        "128,1,6.0,,,,",
        "128,2,,,,,9.0",
    ]


def test_the_rows_of_a_figure_are_a_file_with_a_column_for_each_field_that_was_measured(tmp_path):
    advice = KINDS["ends_no_worse"]()
    figure = answer_figure(advice)

    (path,) = write_figure_rows([figure], tmp_path / "report.csv")

    read = list(csv.DictReader(path.read_text().splitlines()))
    assert path.name == "report-answer.csv"
    assert [row["kind"] for row in read] == [row["kind"] for row in figure.rows]
    point = next(row for row in read if row["kind"] == "point")
    assert float(point["low"]) <= float(point["mean"]) <= float(point["high"])
    assert not {"text", "to_size"} & read[0].keys()


@pytest.mark.slow
def test_every_figure_that_has_something_to_show_is_a_file(tmp_path):
    study = made_up_study(batch_sizes=(64, 256), epochs=2)

    looks, path = figure_looks(study), tmp_path / "report.svg"
    written = write_figure_images(sweep_figures(study), looks, path, "svg")

    along = ("b-epochs", "b-steps", "b-time")
    names = ("a-answer", *along, "d-machine", "e-gap")
    assert [path.name for path in written] == [f"report-{name}.svg" for name in names]
    assert all(path.read_text().startswith("<svg") for path in written)


def test_nothing_to_draw_is_an_error_that_says_why(tmp_path):
    figures = sweep_figures(made_up_study(batch_sizes=()))

    with pytest.raises(NothingToDrawError, match="No trial has been evaluated"):
        write_figure_images(figures, (), tmp_path / "report", "png")
    assert list(tmp_path.iterdir()) == []


VALUES = (0.0, 3.2e-7, 0.000_012_345, 0.000_9996, 0.08, 0.125, 0.113_137, 0.843_412, 0.9996, 0.9634)
LARGER = (1.0, 1.28, 9.9999, 64.0, 99.6, 119.7, 123.456, 999.7, 4096.0, 71_712_345.0, 3.1e10)


def drawn(name: str, values: tuple[float, ...]) -> list[str]:
    """The texts that a chart draws for the values, read off its SVG."""
    svg = vl_convert.vegalite_to_svg(
        {
            "data": {"values": [{"place": place, "v": v} for place, v in enumerate(values)]},
            "transform": [
                {"calculate": f"'<' + {number_expression(name, 'datum.v')} + '>'", "as": "w"}
            ],
            "mark": "text",
            "encoding": {"x": {"field": "place", "type": "ordinal"}, "text": {"field": "w"}},
        },
        vl_version="6.1",
    )
    return re.findall(r">&lt;([^<]*?)&gt;<", svg)


@pytest.mark.parametrize(
    "name",
    [
        "time_to_target_s",
        "peak_bytes",
        "samples_per_s",
        "steps_to_target",
        "learning_rate",
        "accuracy",
        "epoch",
        "ratio",
        "a metric of a user's",
    ],
)
def test_the_pointer_reads_the_number_that_the_table_has(name: str) -> None:
    values = VALUES + LARGER

    assert drawn(name, values) == [quantity_text(name, value) for value in values]
