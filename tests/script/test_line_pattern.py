from __future__ import annotations

import pytest
from tests.reference.sampled_output import readings_of

from batchlab.errors import UsageError
from batchlab.script.formats import LinePattern


def test_named_groups_are_counters_and_values() -> None:
    pattern = r"\[(?P<epoch>\d+), +(?P<step>\d+)\] loss: (?P<train_loss>\S+)"

    (found,) = readings_of(b"[2,  2000] loss: 1.4e-1\n", pattern=pattern)

    assert (found.shape, found.step, found.values) == ("pattern", 2000, (("train_loss", 0.14),))


def test_a_line_that_the_pattern_takes_is_read_by_nothing_else() -> None:
    output = b"step 3 loss 0.5\nstep 4 other_loss 0.5\n"

    found = readings_of(output, pattern=r"step (?P<step>\d+) loss (?P<mine>\S+)")

    assert [(each.shape, each.values[0][0]) for each in found] == [
        ("pattern", "mine"),
        ("words", "other_loss"),
    ]


def test_what_is_no_number_where_the_pattern_looks_is_left_out() -> None:
    pattern = r"loss (?P<loss>\S+)"

    assert readings_of(b"loss unknown\n", pattern=pattern) == []


def test_a_decimal_comma_where_the_pattern_looks_is_read() -> None:
    output = b"step 1 vl=0,53\nstep 2 vl=2,531\n"

    found = readings_of(output, pattern=r"step (?P<step>\d+) vl=(?P<vl>\S+)")

    assert [dict(each.values)["vl"] for each in found] == [0.53, 2.531]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(", "is no regular expression: missing \\)"),
        ("(?P<1>x)", "is no regular expression"),
        ("loss", "no named group for a value"),
        (r"(?P<step>\d+)", "no named group for a value"),
    ],
)
def test_a_bad_pattern_is_refused_in_one_line(pattern: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        LinePattern(pattern)

    assert "\n" not in str(refused.value)
