from __future__ import annotations

from functools import partial

import pytest

from batchlab.report.parts.charts.axes import ratio_y, value_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.canvas import PAGE, PAPER
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.charts.layers import KINDS
from batchlab.report.parts.palette import looks

LOOKS = looks([64, 256], n_train=4096)


def spec(*kinds: str, domain=(1.0, 10.0), y=ratio_y, canvas=PAPER) -> dict:
    return chart(
        "rows",
        where=in_panel('a "panel"'),
        x=partial(batch_size_x, LOOKS),
        y=partial(y, "step_s", domain),
        name="step_s",
        kinds=frozenset(kinds),
        looks=LOOKS,
        canvas=canvas,
        series=("train", "validation", "test"),
    ).to_dict(validate=True)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_row_is_valid_vega_lite_on_a_page(kind):
    assert spec(kind, canvas=PAGE)["layer"]


def test_a_chart_has_the_layers_of_its_kinds_and_no_others():
    both = spec("line", "ring")["layer"]

    assert [layer["mark"]["type"] for layer in both] == ["line", "point"]
    assert both == [*spec("line")["layer"], *spec("ring")["layer"]]


def test_rows_of_other_panels_are_left_out_whatever_a_panel_is_called():
    (layer,) = spec("line")["layer"]

    assert {"filter": 'datum.panel == "a \\"panel\\""'} in layer["transform"]


def test_a_kind_that_nothing_draws_is_no_silent_gap():
    with pytest.raises(AssertionError, match="no layer draws pint"):
        spec("pint")


def test_what_lies_behind_comes_before_what_lies_on_it():
    marks = [layer["mark"]["type"] for layer in spec("point", "span")["layer"]]

    assert marks == ["rect", "rule", "point"]


@pytest.mark.parametrize(
    ("y", "domain", "scale"),
    [
        (ratio_y, (1.0, 2.0), "linear"),
        (ratio_y, (1.0, 3.0), "log"),
        (value_y, (1.0, 3.0), "linear"),
        (value_y, (1.0, 31.0), "log"),
        (value_y, (0.0, 31.0), "linear"),
        (ratio_y, (-1.0, 31.0), "linear"),
    ],
)
def test_an_axis_is_logarithmic_where_its_values_span_enough(y, domain, scale):
    (layer,) = spec("line", y=y, domain=domain)["layer"]

    assert layer["encoding"]["y"]["scale"]["type"] == scale


def test_labels_of_a_ratio_axis_are_round_and_more_of_them_on_a_short_one():
    def labels(low, high) -> list[float]:
        (layer,) = spec("line", domain=(low, high))["layer"]
        return layer["encoding"]["y"]["axis"]["values"]

    assert labels(1.0, 5.0) == [1, 2, 3, 4]
    assert labels(1.0, 20.0) == [1, 2, 5, 10, 20]
    assert labels(1.0, 1e4) == [1, 10, 100, 1000, 10000]
