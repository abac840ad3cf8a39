"""The Markdown of a replication: what did not hold comes first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from tests.reference.made_up import made_up_study

from batchlab import Estimate
from replications.claims import JudgedClaim, Verdict
from replications.experiment import Paper
from replications.tables import Range
from replications.text import markdown, number_text, range_text


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (Estimate.of(0.98031, interval=(0.97, 0.99), n=3), "0.9803 (0.97 to 0.99)"),
        (Estimate.of(12.3, interval=(12.3, 12.3), n=1), "12.3"),
        (Estimate.of(12.3, n=1), "12.3"),
        (Estimate.of(12.3, interval=(None, 14.0), n=3), "12.3 (– to 14)"),
        (Estimate(estimate=None, low=10.9, high=None, n=3), "at least 10.9"),
        (Estimate(estimate=None, low=None, high=2.0, n=3), "at most 2"),
        (Estimate(estimate=None, low=1.0, high=2.0, n=3), "from 1 to 2"),
        (Estimate(estimate=None, low=None, high=None, n=0), "not known"),
    ],
)
def test_a_number_is_written_with_what_is_known(number: Estimate, said: str) -> None:
    assert number_text(number) == said


def test_a_range_is_written_as_in_a_table() -> None:
    ranges = ((None, 1.0), (1.0, None), (1.0, 1.0), (-1.0, 0.0))

    assert [range_text(Range(low=low, high=high)) for low, high in ranges] == [
        "< 1",
        "> 1",
        "1",
        "-1 to 0",
    ]


def test_what_did_not_hold_comes_first_and_what_is_of_size_is_counted() -> None:
    paper = Paper.named("keskar2017")
    verdicts: tuple[Verdict, ...] = ("held", "can't tell", "did not hold")
    judged = [
        JudgedClaim(
            claim=claim,
            published=Range(low=1.0, high=1.0),
            is_verified=i > 0,
            measured=Estimate.of(1.0, interval=(0.5, 2.0), n=3),
            verdict=verdicts[i % 3],
        )
        for i, claim in enumerate(paper.claims)
    ]
    studies = cast(Any, {"SB": made_up_study(batch_sizes=(64,), seeds=2)})

    quick = markdown(paper, judged, studies, is_quick=True)
    full = markdown(replace(paper, left_open=()), judged, studies, is_quick=False)

    rows = [line for line in quick.splitlines() if line.startswith("| ")][1:]
    n_of_size = sum(claim.at_full_size for claim in paper.claims)
    assert len(rows) == len(paper.claims) - n_of_size
    assert rows == sorted(rows, key=lambda row: verdicts[::-1].index(row.split(" | ")[0][2:]))
    assert f"own sizes: {n_of_size} more claims" in quick
    assert "unverified" in quick
    assert "own sizes" not in full
    assert "leaves open" not in full
