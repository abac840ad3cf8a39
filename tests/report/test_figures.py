"""Figures as charts: valid on a page and on paper, with the axes, colors and numbers they need."""

from __future__ import annotations

import csv
import json
import re

import altair as alt
import pytest
import vl_convert
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import KINDS, advice_study

from batchlab.records.trial import Status
from batchlab.report.advice_figures import objective_figure
from batchlab.report.chart import (
    NothingToDrawError,
    figure_image,
    page_spec,
    plot,
    still_svg,
    value_axis,
    write_figure_images,
)
from batchlab.report.figure import rows_csv, script_json
from batchlab.report.pointer import number_expression
from batchlab.report.sweep_figures import cost_figure, sweep_figures
from batchlab.report.text import quantity_text

STUDY = made_up_study(
    learning_rates=(0.01, 0.1),
    seeds=2,
    epochs=3,
    endings={(64, 0.01, 0): (Status.DIVERGED, "the loss grew", 2)},
)
FIGURE = {figure.key: figure for figure in sweep_figures(STUDY)}


@pytest.mark.slow
@pytest.mark.parametrize("key", FIGURE)
def test_every_plot_is_valid_vega_lite(key):
    for panel in FIGURE[key].panels:
        assert plot(panel).to_dict(validate=True)["layer"]


@pytest.mark.parametrize(
    ("key", "axis"),
    [("a", "epoch"), ("b", "step"), ("c", "equal_time_s"), ("d", "batch_size"), ("f", None)],
)
def test_horizontal_axes_are_logarithmic_but_for_epochs(key, axis):
    spec = json.dumps(page_spec(FIGURE[key].panels[0]))

    scales = re.findall(r'"field": "%s", "scale": (\{.*?\})' % (axis or "learning_rate"), spec)

    assert scales
    assert all(('"type": "log"' in scale) == (key != "a") for scale in scales)
    assert all(('"base": 2' in scale) == (key == "d") for scale in scales)


def test_a_still_image_has_no_invisible_marks_and_its_own_identifiers():
    panel = FIGURE["a"].panels[0]
    spec = page_spec(panel)

    svg = still_svg(spec, FIGURE["a"].rows, prefix="a-1")

    assert 'opacity="0"' not in svg
    assert 'id="a-1-clip0"' in svg
    assert "url(#clip" not in svg
    assert svg == still_svg(spec, FIGURE["a"].rows, prefix="a-1")
    assert "var(--batch-64)" in svg


def test_a_theme_of_the_users_notebook_does_not_reach_the_report():
    panel = FIGURE["a"].panels[0]
    expected = page_spec(panel)

    @alt.theme.register("black", enable=False)
    def black() -> alt.theme.ThemeConfig:
        return {"background": "black"}

    with alt.theme.enable("black"):
        assert page_spec(panel) == expected


def test_a_quantity_over_several_magnitudes_has_a_logarithmic_axis():
    def vertical_scale(step_s) -> dict:
        figure = cost_figure(made_up_study(batch_sizes=(64, 1024), step_s=step_s))
        spec = page_spec(figure.panels[0])
        return next(
            layer["encoding"]["y"]["scale"]
            for layer in spec["layer"]
            if layer["encoding"].get("y", {}).get("field") == "mean"
        )

    assert vertical_scale(lambda batch_size: batch_size**2 / 1e7)["type"] == "log"
    assert vertical_scale(lambda batch_size: 0.001 + batch_size / 1e6)["type"] == "linear"


def test_images_for_paper_have_plain_colours_and_a_legend():
    svg = figure_image(FIGURE["d"], "svg").decode()

    assert "var(--" not in svg
    assert "#D06000" in svg
    assert ">1024<" in svg
    assert figure_image(FIGURE["d"], "png").startswith(b"\x89PNG")


def test_json_in_a_script_element_cannot_end_it():
    text = script_json({"name": "</script><script>alert(1)</script>&<!--"})

    assert "<" not in text
    assert json.loads(text) == {"name": "</script><script>alert(1)</script>&<!--"}


def axis(low: float, high: float, *, is_metric: bool = False) -> dict:
    rows = [{"kind": "point", "mean": value} for value in (low, high)]
    return value_axis("step_s", rows, is_metric=is_metric).to_dict()


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


def test_labels_of_a_ratio_axis_are_round_and_more_of_them_on_a_short_one():
    def labels(high: float) -> list[float]:
        return axis(1.0, high)["axis"]["values"]

    assert labels(5.0) == [1, 2, 3, 4]
    assert labels(20.0) == [1, 2, 5, 10, 20]
    assert labels(1e4) == [1, 10, 100, 1000, 10000]


def test_the_rows_of_a_figure_are_a_table_with_a_column_for_each_field():
    advice = KINDS["ends_no_worse"]()
    figure = objective_figure(advice, advice_study(advice))

    read = list(csv.DictReader(rows_csv(figure.rows).splitlines()))

    assert [row["kind"] for row in read] == [row["kind"] for row in figure.rows]
    point = next(row for row in read if row["kind"] == "point")
    assert float(point["low"]) <= float(point["mean"]) <= float(point["high"])
    assert "side" not in read[0]


@pytest.mark.slow
def test_every_figure_that_has_something_to_show_is_a_file(tmp_path):
    study = made_up_study(batch_sizes=(64, 256), epochs=2)

    written = write_figure_images(sweep_figures(study), tmp_path / "report.svg", "svg")

    assert [path.name for path in written] == [
        "report-a-epochs.svg",
        "report-b-steps.svg",
        "report-c-time.svg",
        "report-d-gap.svg",
        "report-e-cost.svg",
        "report-g-noise.svg",
    ]
    assert all(path.read_text().startswith("<svg") for path in written)


def test_nothing_to_draw_is_an_error_that_says_why(tmp_path):
    with pytest.raises(NothingToDrawError, match="No trial has been evaluated"):
        write_figure_images(
            sweep_figures(made_up_study(batch_sizes=())), tmp_path / "report", "png"
        )
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
