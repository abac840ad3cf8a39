from __future__ import annotations

import re

import pytest
import vl_convert

from batchlab.report.parts.charts.number_expression import number_expression
from batchlab.report.text import quantity_text

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


def test_whole_numbers_stay_whole() -> None:
    assert drawn("step", (0.0, 7.0, 12_345.0)) == ["0", "7", "12345"]
