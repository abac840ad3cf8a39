from __future__ import annotations

import json
import re

import altair as alt
import pytest
import vl_convert
from tests.reference.made_up import made_up_study

from batchlab.records.trial import Status
from batchlab.report.parts.charts.canvas import PAGE, PAPER
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.parts.vega import (
    columns,
    paper_image,
    script,
    script_json,
    shared_parts,
    specification,
    still_svg,
)
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


def put_together(value: object, parts: list[object]) -> object:
    """What the page's script does to a specification before it draws it."""
    if isinstance(value, str) and value.startswith("§"):
        part = parts[int(value[1:])]
        return part if isinstance(part, str) else put_together(part, parts)
    if isinstance(value, list):
        return [put_together(each, parts) for each in value]
    if isinstance(value, dict):
        return {key: put_together(each, parts) for key, each in value.items()}
    return value


@pytest.mark.slow
def test_specifications_told_in_parts_are_put_together_again_and_are_much_shorter():
    specs = [
        specification(panel.plot(canvas=PAGE), PAGE)
        for figure in FIGURE.values()
        for panel in figure.panels
    ]
    specs.append({"a user's metric": "§7", "long": "§" * 99})
    found: dict[str, int] = {}

    told = [shared_parts(spec, found) for spec in specs]

    parts = [json.loads(part) for part in found]
    assert [put_together(spec, parts) for spec in told] == specs
    assert len(json.dumps([told, parts])) < len(json.dumps(specs)) / 2


def test_rows_as_columns_keep_every_value():
    rows = ({"kind": "run", "mean": 1.5}, {"kind": "level", "text": "target", "mean": 2})

    told = columns(rows)

    assert told["fields"] == ["kind", "mean", "text"]
    assert told["values"] == [["run", 1.5, None], ["level", 2, "target"]]


def test_a_still_image_is_the_same_drawing_without_what_repeats():
    panel = FIGURE["a"].panels[0]
    spec = specification(panel.plot(canvas=PAGE), PAGE)
    whole = vl_convert.vegalite_to_svg(
        spec | {"datasets": {"curves": list(FIGURE["a"].rows)}}, vl_version="6.1"
    )

    still = still_svg(spec, {"curves": FIGURE["a"].rows}, prefix="a-1")

    assert len(still) < 0.8 * len(whole)
    texts = re.compile(r">([^<>]+)</text>")
    assert texts.findall(still) == texts.findall(whole)
    assert re.findall('opacity="0.18"', still)
    assert not re.search(r'(?:d|transform)="[^"]*\.\d\d', still)
