"""A claim's verdict: by intervals, by the table's rows, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from batchlab.records.estimate import Estimate, Reason
from batchlab.records.replication import JudgedClaim, PublishedRow, Range
from batchlab.replications.arms import level
from batchlab.replications.claims import Claim, judged
from batchlab.replications.tables import PublishedTable

MISSING = Reason.of("not_trained_yet", arms="LB")


def row(
    value: str, condition: str, *, verified: Literal["yes", "no", "derived"] = "yes"
) -> PublishedRow:
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


def table(small: str = "0.98", large: str = "0.96") -> PublishedTable:
    rows = (row(small, "SB"), row(large, "LB"))
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


def judge(claim: Claim, rows: PublishedTable, low: float, high: float, **how) -> JudgedClaim:
    found = Estimate.of((low + high) / 2, interval=(low, high), n=3)
    form = how.pop("form", "full")
    return judged(claim, rows, {claim.measured: found}, form=form, missing=MISSING)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "why"),
    [
        (0.005, 0.02, "held", "interval_as_published"),
        (-0.02, -0.005, "did_not_hold", "interval_elsewhere"),
        (-0.005, 0.02, "cannot_tell", "interval_reaches_beyond"),
        (-0.0005, 0.0009, "did_not_hold", "difference_does_not_matter"),
        (0.0001, 0.0009, "did_not_hold", "difference_does_not_matter"),
        (-0.0005, 0.0011, "cannot_tell", "interval_reaches_beyond"),
    ],
)
def test_a_difference_lies_on_the_published_side_or_not(low, high, verdict, why) -> None:
    found = judge(SIDE, table(), low, high)

    assert (found.verdict, found.why.code) == (verdict, why)
    assert found.published is not None
    assert found.published.number == pytest.approx(0.02)
    assert found.held_within == Range(low=0.0, high=None)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.976, 0.984, "held"),
        (0.974, 0.984, "cannot_tell"),
        (0.95, 0.96, "did_not_hold"),
        (0.99, 1.0, "did_not_hold"),
        (0.9, 1.0, "cannot_tell"),
    ],
)
def test_a_value_lies_within_the_tolerance_or_not(low, high, verdict) -> None:
    assert judge(VALUE, table(), low, high).verdict == verdict


def test_a_flipped_row_does_not_hold_what_held() -> None:
    assert judge(SIDE, table("0.98", "0.96"), 0.005, 0.02).verdict == "held"
    assert judge(SIDE, table("0.96", "0.98"), 0.005, 0.02).verdict == "did_not_hold"
    assert judge(VALUE, table("0.90"), 0.976, 0.984).verdict == "did_not_hold"


@pytest.mark.parametrize("value", ["", "higher", "n/a"])
def test_a_row_without_a_number_cannot_tell(value: str) -> None:
    for claim in (SIDE, VALUE):
        found = judge(claim, table(small=value), 0.005, 0.02)
        assert (found.verdict, found.why.code) == ("cannot_tell", "published_without_number")
        assert (found.published, found.held_within) == (None, None)


def test_two_equal_numbers_have_no_side() -> None:
    assert judge(SIDE, table("0.98", "0.98"), 0.005, 0.02).verdict == "cannot_tell"


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        ("3 to 10", 4.0, 9.0, "held"),
        ("3 to 10", 2.0, 9.0, "cannot_tell"),
        ("3 to 10", 1.0, 2.0, "did_not_hold"),
        ("> 1", 1.5, 40.0, "held"),
        ("> 1", 0.2, 0.5, "did_not_hold"),
        ("< 1", 0.2, 0.5, "held"),
        ("> 1", 1.0, 1.0, "did_not_hold"),
        ("< 1", 1.0, 1.0, "did_not_hold"),
        ("> 1", 1.0, 2.0, "cannot_tell"),
        ("1", 1.0, 1.0, "held"),
    ],
)
def test_a_range_is_held_by_what_lies_in_it(value, low, high, verdict) -> None:
    claim = replace(VALUE, within=0.0)

    assert judge(claim, table(small=value), low, high).verdict == verdict


def test_a_tolerance_leaves_no_rounding_behind() -> None:
    held_within = Range(low=0.3, high=0.3).widened(within=0.1 + 0.2, factor=1.0)

    assert (str(held_within.low), str(held_within.high)) == ("0.0", "0.6")


def test_a_ratio_of_rows_is_held_on_its_side_of_one_or_within_a_factor() -> None:
    side = replace(SIDE, of_two="ratio", matters=0.0)
    rows = table("200", "2")
    assert judge(side, rows, 1.5, 40).verdict == "held"
    assert judge(side, rows, 0.5, 0.9).verdict == "did_not_hold"
    assert judge(side, table("2", "200"), 1.5, 40).verdict == "did_not_hold"

    near = replace(side, by="value", factor=2.0)
    assert judge(near, rows, 60, 180).verdict == "held"
    assert judge(near, rows, 40, 180).verdict == "cannot_tell"
    assert judge(near, rows, 1.5, 40).verdict == "did_not_hold"


def test_what_was_not_measured_cannot_be_told_and_why() -> None:
    found = judged(SIDE, table(), {}, form="quick", missing=MISSING)
    assert (found.verdict, found.why) == ("cannot_tell", MISSING)

    one = {SIDE.measured: Estimate.of(0.5, n=1)}
    found = judged(SIDE, table(), one, form="quick", missing=MISSING)
    assert (found.verdict, found.why.code) == ("cannot_tell", "no_interval")

    none = {SIDE.measured: level({})}
    found = judged(SIDE, table(), none, form="quick", missing=MISSING)
    assert (found.verdict, found.why) == ("cannot_tell", MISSING)

    lost = Reason.of("no_trial_ended_well")
    found = judged(
        SIDE, table(), {SIDE.measured: Estimate.cannot_tell(lost)}, form="full", missing=MISSING
    )
    assert (found.verdict, found.why) == ("cannot_tell", lost)


def test_what_is_about_the_papers_size_is_left_to_the_full_form() -> None:
    claim = replace(VALUE, at_full_size=True)

    quick = judge(claim, table(), 0.976, 0.984, form="quick")
    assert (quick.verdict, quick.why.code) == ("cannot_tell", "only_full_form")
    assert judge(claim, table(), 0.976, 0.984, form="full").verdict == "held"


def test_a_claim_is_as_sure_as_its_rows() -> None:
    rows = PublishedTable(
        "a paper",
        {
            ("accuracy", "SB"): row("0.98", "SB"),
            ("accuracy", "LB"): row("0.96", "LB", verified="no"),
        },
    )
    assert judge(VALUE, rows, 0.976, 0.984).is_verified
    assert not judge(SIDE, rows, 0.005, 0.02).is_verified


def test_no_worse_is_held_by_what_is_equal() -> None:
    # A claim of "no worse" is a bound with what is too little to matter, not a side of nothing.
    claim = replace(VALUE, within=0.0)

    assert judge(claim, table(small="< 0.0005"), -0.0001, 0.0001).verdict == "held"
    assert judge(claim, table(small="< 0.0005"), 0.001, 0.002).verdict == "did_not_hold"


def test_a_difference_that_matters_is_one_by_side() -> None:
    with pytest.raises(ValueError, match="a difference that matters is one by side"):
        replace(VALUE, matters=0.1)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.99, None, "did_not_hold"), (0.97, None, "cannot_tell"), (None, 0.9, "did_not_hold")],
)
def test_one_known_bound_decides_where_it_can(low, high, verdict) -> None:
    found = {VALUE.measured: Estimate.of(0.98, interval=(low, high), n=3)}

    assert judged(VALUE, table(), found, form="full", missing=MISSING).verdict == verdict
