from __future__ import annotations

import csv
import io

from batchlab.report.table import Column, Table

TABLE = Table(
    caption="A table",
    columns=(
        Column(key="name", quantity="name"),
        Column(key="step_s", quantity="step_s"),
        Column(key="nothing", quantity="accuracy"),
    ),
    rows=(('a, "b"', 0.0012345678901234, None), ("c", None, None)),
)


def test_csv_keeps_full_precision_and_leaves_unknown_values_empty():
    rows = list(csv.reader(io.StringIO(TABLE.to_csv())))

    assert rows == [
        ["name", "step_s", "nothing"],
        ['a, "b"', "0.0012345678901234", ""],
        ["c", "", ""],
    ]


def test_text_aligns_numbers_to_the_right_and_words_to_the_left():
    text = TABLE.without_empty_columns().to_text()

    assert text.splitlines() == [
        "name    time per step",
        'a, "b"        1.23 ms',
        "c                   –",
    ]


def test_a_column_that_knows_nothing_is_left_out():
    assert [column.key for column in TABLE.without_empty_columns().columns] == ["name", "step_s"]
