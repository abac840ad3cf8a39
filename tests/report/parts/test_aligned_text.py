from __future__ import annotations

import pytest

from batchlab.report.table import aligned_text

NUMBERS = [
    ["batch size", "mean accuracy", "lowest", "highest"],
    ["64", "0.9698", "0.9612", "0.9743"],
    ["2000 (full)", "0.9684", "0.9601", "0.9712"],
]
WORDS = [
    ["", "yours", "best so far"],
    ["time to target, validation accuracy", "13.2 s", "1.28 s (1.21 s to 1.34 s)"],
]


def test_what_fits_stays_as_it_is() -> None:
    wide = aligned_text(NUMBERS, is_number=[False, True, True, True], width=None)

    assert wide.splitlines() == [
        "batch size   mean accuracy  lowest  highest",
        "64                  0.9698  0.9612   0.9743",
        "2000 (full)         0.9684  0.9601   0.9712",
    ]
    assert aligned_text(NUMBERS, is_number=[False, True, True, True], width=43) == wide


def test_headers_are_wrapped_first() -> None:
    lines = aligned_text(NUMBERS, is_number=[False, True, True, True], width=40).splitlines()

    assert lines == [
        "batch size         mean  lowest  highest",
        "               accuracy",
        "64               0.9698  0.9612   0.9743",
        "2000 (full)      0.9684  0.9601   0.9712",
    ]


def test_what_is_still_too_wide_becomes_tables_that_each_name_their_rows() -> None:
    lines = aligned_text(NUMBERS, is_number=[False, True, True, True], width=30).splitlines()

    assert lines == [
        "batch size        mean  lowest",
        "              accuracy",
        "64              0.9698  0.9612",
        "2000 (full)     0.9684  0.9601",
        "",
        "batch size   highest",
        "64            0.9743",
        "2000 (full)   0.9712",
    ]


def test_rows_that_take_two_columns_to_tell_apart_keep_both() -> None:
    rows = [
        ["size", "rate", "accuracy", "steps"],
        ["64", "0.1", "0.9698", "12345"],
        ["64", "0.2", "0.9684", "23456"],
    ]

    lines = aligned_text(rows, is_number=[True] * 4, width=20).splitlines()

    assert [line.split() for line in lines if "64" in line] == [
        ["64", "0.1", "0.9698"],
        ["64", "0.2", "0.9684"],
        ["64", "0.1", "12345"],
        ["64", "0.2", "23456"],
    ]


@pytest.mark.parametrize("width", [40, 50, 60])
def test_words_are_wrapped_and_a_number_keeps_its_unit(width: int) -> None:
    lines = aligned_text(WORDS, is_number=[False] * 3, width=width).splitlines()

    assert max(map(len, lines)) <= width
    assert "13.2 s" in lines[1]
    said = " ".join(" ".join(line[-14:] for line in lines[1:]).split())
    assert "1.34 s)" in said
    assert not any(line.strip().startswith("s") for line in lines)
