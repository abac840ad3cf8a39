from __future__ import annotations

import pytest

from batchlab.report.text import quantity_text, range_text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("step_s", 0.000441, "441 µs"),
        ("step_s", 0.00255, "2.55 ms"),
        ("train_s", 4.0, "4 s"),
        ("train_s", 600.0, "10 min"),
        ("train_s", 9000.0, "2.5 h"),
        ("train_s", 0.0, "0 s"),
        ("step_s", 0.9996, "1 s"),
        ("step_s", 0.0009996, "1 ms"),
        ("train_s", 119.96, "2 min"),
        ("peak_bytes", 999_600, "1 MB"),
        ("peak_bytes", 30_100_000, "30.1 MB"),
        ("peak_bytes", 12, "12 B"),
        ("samples_per_s", 145_200.0, "145 k/s"),
        ("accuracy", 0.97312, "0.9731"),
        ("generalization_gap", -0.00213, "-0.0021"),
        ("loss", 0.000012345, "1.23e-05"),
        ("learning_rate", 0.003, "0.003"),
        ("batch_size", 50_000, "50000"),
        ("steps_to_target", 12_345.6, "12,300"),
        ("steps_to_target", 7.31, "7.31"),
        ("samples_to_target", 1_234_567, "1,230,000"),
        ("epochs_to_target", 12.34, "12.3"),
        ("accuracy", None, "–"),
        ("status", "ok", "ok"),
    ],
)
def test_a_number_is_written_with_its_unit(name, value, text):
    assert quantity_text(name, value) == text


def test_a_range_whose_ends_read_the_same_is_one_value() -> None:
    assert range_text("peak_bytes", 71_700_000, 71_700_001) == "71.7 MB"
    assert range_text("peak_bytes", 71_700_000, 72_000_000) == "71.7 MB to 72 MB"
