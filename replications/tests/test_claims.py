"""A claim's verdict: by intervals, by the table's rows, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from batchlab import Estimate
from replications.claims import Claim, JudgedClaim, judge
from replications.seeds import UNKNOWN
from replications.tables import PublishedRow, PublishedTable, Range


def row(value: str, condition: str, *, verified: str = "yes") -> PublishedRow:
    return PublishedRow(
        source="a paper",
        quantity="accuracy",
        condition=condition,
        value=value,
        uncertainty="",
        unit="",
        verified=verified,
        note="",
    )


def table(small: str = "0.98", large: str = "0.96", *, verified: str = "yes") -> PublishedTable:
    rows = (row(small, "SB"), row(large, "LB", verified=verified))
    return PublishedTable("a paper", {(each.quantity, each.condition): each for each in rows})


SIDE = Claim(
    says="the small batch is better",
    measured="SB less LB",
    measured_as="small less large",
    rows=(("accuracy", "SB"), ("accuracy", "LB")),
    matters=0.001,
)
VALUE = Claim(
    says="the small batch ends there",
    measured="SB",
    measured_as="accuracy",
    rows=(("accuracy", "SB"),),
    by="value",
    within=0.005,
)


def judged(claim: Claim, rows: PublishedTable, low: Any, high: Any) -> JudgedClaim:
    number = Estimate(estimate=None, low=low, high=high, n=3)
    return judge(claim, rows, {claim.measured: number})


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.005, 0.02, "held"),
        (-0.02, -0.005, "did not hold"),
        (-0.005, 0.02, "can't tell"),
        (-0.0005, 0.0009, "did not hold"),  # a difference that does not matter
        (0.0001, 0.0009, "did not hold"),
        (-0.0005, 0.0011, "can't tell"),
        (0.005, None, "held"),
        (None, 0.0009, "can't tell"),
    ],
)
def test_a_difference_lies_on_the_published_side_or_not(low: Any, high: Any, verdict: str) -> None:
    made = judged(SIDE, table(), low, high)

    assert made.verdict == verdict
    assert made.published is not None
    assert made.published.number == pytest.approx(0.02)
    assert SIDE.holds_within(made.published) == Range(low=0.0, high=None)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.976, 0.984, "held"),
        (0.974, 0.984, "can't tell"),
        (0.95, 0.96, "did not hold"),
        (0.99, 1.0, "did not hold"),
        (0.9, 1.0, "can't tell"),
        (0.99, None, "did not hold"),
        (0.97, None, "can't tell"),
        (None, 0.9, "did not hold"),
    ],
)
def test_a_value_lies_within_the_tolerance_or_not(low: Any, high: Any, verdict: str) -> None:
    assert judged(VALUE, table(), low, high).verdict == verdict


def test_a_flipped_row_does_not_hold_what_held() -> None:
    assert judged(SIDE, table("0.98", "0.96"), 0.005, 0.02).verdict == "held"
    assert judged(SIDE, table("0.96", "0.98"), 0.005, 0.02).verdict == "did not hold"
    assert judged(VALUE, table("0.90"), 0.976, 0.984).verdict == "did not hold"


@pytest.mark.parametrize("value", ["", "higher", "n/a"])
def test_a_row_without_a_number_cannot_tell(value: str) -> None:
    for claim in (SIDE, VALUE):
        made = judged(claim, table(small=value), 0.005, 0.02)
        assert (made.verdict, made.published) == ("can't tell", None)


def test_two_equal_numbers_have_no_side() -> None:
    assert judged(SIDE, table("0.98", "0.98"), 0.005, 0.02).verdict == "can't tell"


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        ("3 to 10", 4.0, 9.0, "held"),
        ("3 to 10", 2.0, 9.0, "can't tell"),
        ("3 to 10", 1.0, 2.0, "did not hold"),
        ("> 1", 1.5, 40.0, "held"),
        ("> 1", 0.2, 0.5, "did not hold"),
        ("< 1", 0.2, 0.5, "held"),
        ("> 1", 1.0, 1.0, "did not hold"),
        ("< 1", 1.0, 1.0, "did not hold"),
        ("> 1", 1.0, 2.0, "can't tell"),
        ("1", 1.0, 1.0, "held"),
        # A claim of "no worse" is a bound with what is too little to matter.
        ("< 0.0005", -0.0001, 0.0001, "held"),
        ("< 0.0005", 0.001, 0.002, "did not hold"),
    ],
)
def test_a_range_is_held_by_what_lies_in_it(
    value: str, low: float, high: float, verdict: str
) -> None:
    assert judged(replace(VALUE, within=0.0), table(small=value), low, high).verdict == verdict


def test_a_tolerance_leaves_no_rounding_behind() -> None:
    widened = Range(low=0.3, high=0.3).widened(within=0.1 + 0.2, factor=1.0)

    assert (str(widened.low), str(widened.high)) == ("0.0", "0.6")


def test_a_ratio_of_rows_is_judged_by_its_side_or_a_factor() -> None:
    side = replace(SIDE, of_two="ratio", matters=0.0)
    rows = table("200", "2")
    assert judged(side, rows, 1.5, 40).verdict == "held"
    assert judged(side, rows, 0.5, 0.9).verdict == "did not hold"
    assert judged(side, table("2", "200"), 1.5, 40).verdict == "did not hold"

    near = replace(side, by="value", factor=2.0)
    assert judged(near, rows, 60, 180).verdict == "held"
    assert judged(near, rows, 40, 180).verdict == "can't tell"
    assert judged(near, rows, 1.5, 40).verdict == "did not hold"


def test_what_was_not_measured_cannot_be_told() -> None:
    assert judge(SIDE, table(), {}).verdict == "can't tell"
    assert judge(SIDE, table(), {SIDE.measured: UNKNOWN}).verdict == "can't tell"
    assert judge(SIDE, table(), {SIDE.measured: Estimate.of(0.5, n=1)}).verdict == "can't tell"


def test_a_claim_is_as_sure_as_its_rows() -> None:
    rows = table(verified="no")

    assert judged(VALUE, rows, 0.976, 0.984).is_verified
    assert not judged(SIDE, rows, 0.005, 0.02).is_verified


def test_a_difference_that_matters_is_one_by_side() -> None:
    with pytest.raises(ValueError, match="has a meaning only with by = 'side'"):
        replace(VALUE, matters=0.1)
