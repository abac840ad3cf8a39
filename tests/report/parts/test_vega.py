from __future__ import annotations

import json
import re

import altair as alt
import pytest
from tests.reference.made_up import made_up_study

from batchlab.records.trial import Status
from batchlab.report.parts.charts.canvas import PAGE, PAPER
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.parts.vega import paper_image, script, script_json, specification, still_svg
from batchlab.report.sweep import figures as sweep_figures
from batchlab.report.sweep.figures.cost import cost_figure

STUDY = made_up_study(
    learning_rates=(0.01, 0.1),
    seeds=2,
    epochs=3,
    endings={(64, 0.01, 0): (Status.DIVERGED, "the loss grew", 2)},
)
FIGURE = {row.key: row.build(STUDY) for row in figure_rows(sweep_figures)}


@pytest.mark.slow
@pytest.mark.parametrize("canvas", [PAGE, PAPER])
@pytest.mark.parametrize("key", FIGURE)
def test_every_plot_is_valid_vega_lite(key, canvas):
    for panel in FIGURE[key].panels:
        chart = panel.plot(canvas=canvas)

        assert chart.to_dict(validate=True)["layer"]


@pytest.mark.parametrize(
    ("key", "axis"),
    [("a", "epoch"), ("b", "step"), ("c", "equal_time_s"), ("d", "batch_size"), ("f", None)],
)
def test_horizontal_axes_are_logarithmic_but_for_epochs(key, axis):
    spec = json.dumps(specification(FIGURE[key].panels[0].plot(canvas=PAGE), PAGE))

    scales = re.findall(r'"field": "%s", "scale": (\{.*?\})' % (axis or "learning_rate"), spec)

    assert scales
    assert all(('"type": "log"' in scale) == (key != "a") for scale in scales)
    assert all(('"base": 2' in scale) == (key == "d") for scale in scales)


def test_a_still_image_has_no_invisible_marks_and_its_own_identifiers():
    panel = FIGURE["a"].panels[0]
    spec = specification(panel.plot(canvas=PAGE), PAGE)

    svg = still_svg(spec, {"curves": FIGURE["a"].rows}, prefix="a-1")

    assert 'opacity="0"' not in svg
    assert 'id="a-1-clip0"' in svg
    assert "url(#clip" not in svg
    assert svg == still_svg(spec, {"curves": FIGURE["a"].rows}, prefix="a-1")
    assert "var(--batch-64)" in svg


def test_a_theme_of_the_users_notebook_does_not_reach_the_report():
    panel = FIGURE["a"].panels[0]
    expected = specification(panel.plot(canvas=PAGE), PAGE)

    @alt.theme.register("black", enable=False)
    def black() -> alt.theme.ThemeConfig:
        return {"background": "black"}

    with alt.theme.enable("black"):
        assert specification(panel.plot(canvas=PAGE), PAGE) == expected


def test_a_quantity_over_several_magnitudes_has_a_logarithmic_axis():
    def vertical_scale(step_s) -> dict:
        figure = cost_figure(made_up_study(batch_sizes=(64, 1024), step_s=step_s), key="e")
        spec = specification(figure.panels[0].plot(canvas=PAGE), PAGE)
        return spec["layer"][0]["encoding"]["y"]["scale"]

    assert vertical_scale(lambda batch_size: batch_size**2 / 1e7)["type"] == "log"
    assert vertical_scale(lambda batch_size: 0.001 + batch_size / 1e6)["type"] == "linear"


def test_images_for_paper_have_plain_colours_and_a_legend():
    svg = paper_image(FIGURE["d"], "svg").decode()

    assert "var(--" not in svg
    assert "#D06000" in svg
    assert ">1024<" in svg


def test_png_images_are_png():
    assert paper_image(FIGURE["f"], "png").startswith(b"\x89PNG")


def test_json_in_a_script_element_cannot_end_it():
    text = script_json({"name": "</script><script>alert(1)</script>&<!--"})

    assert "<" not in text
    assert json.loads(text) == {"name": "</script><script>alert(1)</script>&<!--"}


@pytest.mark.slow
def test_the_script_cannot_end_its_element():
    assert "</script" not in script().lower()
    assert "<!--" not in script()
