"""Claims: what a paper says, as data, and the one function that judges it by what was measured.

A claim holds if the whole 95 % interval lies where the published rows say, within its tolerance. It
does not hold if the interval lies elsewhere. Between the two nobody can tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from batchlab import Estimate
from replications.seeds import UNKNOWN
from replications.tables import Key, PublishedTable, Range, range_of

Verdict = Literal["held", "did not hold", "can't tell"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A comparison of a measured number with rows of a table.

    Attributes:
        says: the claim, a sentence.
        measured: the name of what is measured.
        measured_as: the same in words.
        rows: one row, which the number is compared with; or two, whose difference (first minus
            second) or ratio it is.
        by: "value": it is as published, within the tolerance; "side": it lies on the published
            side of no difference.
        of_two: what two rows make.
        within: tolerance on either side, in the unit of the number.
        factor: tolerance as a factor, >= 1.
        matters: with "side", the least difference that matters; an interval below it is none.
        at_full_size: whether it is about a training as long and large as the paper's, so that the
            quick form can't tell.
    """

    says: str
    measured: str
    measured_as: str
    rows: tuple[Key, ...]
    by: Literal["value", "side"] = "side"
    of_two: Literal["difference", "ratio"] = "difference"
    within: float = 0.0
    factor: float = 1.0
    matters: float = 0.0
    at_full_size: bool = False

    def __post_init__(self) -> None:
        """Refuse a tolerance that would have no effect."""
        if self.matters and self.by != "side":
            raise ValueError(f"{self.says!r}: `matters` has a meaning only with by = 'side'")

    @property
    def no_difference(self) -> float:
        """The number that stands for no difference."""
        return 1.0 if self.of_two == "ratio" else 0.0

    def published(self, table: PublishedTable) -> Range | None:
        """Return what the rows say about the measured number, None if they hold no number."""
        ranges = [range_of(table.row(*key).value) for key in self.rows]
        if len(ranges) == 1:
            return ranges[0]
        first, second = (None if each is None else each.number for each in ranges)
        if first is None or second is None or (self.of_two == "ratio" and second == 0):
            return None
        number = first / second if self.of_two == "ratio" else first - second
        return Range(low=number, high=number)

    def holds_within(self, published: Range | None) -> Range | None:
        """Return where an interval must lie for the claim to hold, None if that is unknown."""
        if published is None:
            return None
        if self.by == "value":
            return published.widened(within=self.within, factor=self.factor)
        number = published.number
        if number is None:
            return published
        if number == self.no_difference:
            return None
        if number > self.no_difference:
            return Range(low=self.no_difference, high=None)
        return Range(low=None, high=self.no_difference)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedClaim:
    """A claim, what was measured, and its verdict.

    Attributes:
        claim: the claim.
        published: what its rows say about the measured number, None if they hold no number.
        is_verified: whether each row was found in a source, or made from what was found.
        measured: our own number.
        verdict: what follows.
    """

    claim: Claim
    published: Range | None
    is_verified: bool
    measured: Estimate
    verdict: Verdict


def judge(claim: Claim, table: PublishedTable, measured: Mapping[str, Estimate]) -> JudgedClaim:
    """Compare a claim with what was measured."""
    number = measured.get(claim.measured, UNKNOWN)
    published = claim.published(table)
    return JudgedClaim(
        claim=claim,
        published=published,
        is_verified=all(table.row(*key).verified != "no" for key in claim.rows),
        measured=number,
        verdict=_verdict(claim, claim.holds_within(published), number),
    )


def _verdict(claim: Claim, holds_within: Range | None, number: Estimate) -> Verdict:
    if holds_within is None or (number.low is None and number.high is None):
        return "can't tell"
    # A bound that is unknown excludes nothing.
    low = -math.inf if number.low is None else number.low
    high = math.inf if number.high is None else number.high
    if claim.by == "side":
        nothing = claim.no_difference
        if nothing - claim.matters < low and high < nothing + claim.matters:
            return "did not hold"
    if holds_within.holds(low, high):
        return "held"
    return "did not hold" if holds_within.is_apart_from(low, high) else "can't tell"
