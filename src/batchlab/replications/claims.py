"""Claims: what a paper says, as data, and the one function that holds it against what was measured.

A claim holds where the whole 95 % interval lies where the published rows say, give or take its
tolerance; it does not where the interval lies elsewhere; between the two nobody can tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from batchlab.records.estimate import Estimate, Reason
from batchlab.records.replication import Form, JudgedClaim, PublishedRow, Range, Verdict, range_of
from batchlab.replications.tables import Key, PublishedTable


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A comparison of a measured number with rows of a table.

    Attributes:
        says: the claim, a sentence.
        measured: the name of what is measured.
        measured_as: the same in words.
        rows: one row, which the number is compared with; two, whose difference (first less
            second) or ratio it is.
        by: "value": it is as published, within the tolerance; "side": it lies on the published
            side of no difference.
        of_two: what two rows make.
        within: tolerance on either side, in the unit of the quantity.
        factor: tolerance as a factor, >= 1.
        matters: by "side": the least difference that matters; an interval below it is none.
        at_full_size: whether it is about a training as long and large as the paper's, so that the
            quick form can't tell.
        quantity: what it is one of, by which its number is written.
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
    quantity: str = "ratio"

    def __post_init__(self) -> None:
        """Refuse what would not count."""
        if self.matters and self.by != "side":
            raise ValueError(f"{self.says!r}: a difference that matters is one by side")

    @property
    def _nothing(self) -> float:
        """What no difference is."""
        return 1.0 if self.of_two == "ratio" else 0.0

    def published(self, rows: tuple[PublishedRow, ...]) -> Range | None:
        """What the rows say of the measured number; None: they hold no number."""
        found = [range_of(row.value) for row in rows]
        if len(found) == 1:
            return found[0]
        first, second = (None if each is None else each.number for each in found)
        if first is None or second is None or (self.of_two == "ratio" and second == 0):
            return None
        made = first / second if self.of_two == "ratio" else first - second
        return Range(low=made, high=made)

    def held_within(self, published: Range | None) -> Range | None:
        """Where an interval must lie for the claim to hold; None: nowhere, for want of a number."""
        if published is None:
            return None
        if self.by == "value":
            return published.widened(within=self.within, factor=self.factor)
        number, nothing = published.number, self._nothing
        if number is None:
            return published
        if number == nothing:
            return None
        return Range(low=nothing, high=None) if number > nothing else Range(low=None, high=nothing)


def judged(
    claim: Claim,
    table: PublishedTable,
    measured: Mapping[str, Estimate],
    *,
    form: Form,
    missing: Reason,
) -> JudgedClaim:
    """A claim with its verdict; `missing` says why something was not measured at all."""
    rows = tuple(table.row(*key) for key in claim.rows)
    found = measured.get(claim.measured)
    if found is None or (found.reason and found.reason.code == "not_measured"):
        found = Estimate.cannot_tell(missing)
    published = claim.published(rows)
    held_within = claim.held_within(published)
    verdict, why = _verdict(claim, held_within, found, missing)
    if claim.at_full_size and form == "quick" and found.estimate is not None:
        verdict, why = "cannot_tell", Reason.of("only_full_form")
    return JudgedClaim(
        claim=claim.says,
        source=rows,
        quantity=claim.quantity,
        measured_as=claim.measured_as,
        published=published,
        held_within=held_within,
        measured=found,
        verdict=verdict,
        why=why,
    )


def _verdict(
    claim: Claim, held_within: Range | None, found: Estimate, missing: Reason
) -> tuple[Verdict, Reason]:
    if held_within is None:
        return "cannot_tell", Reason.of("published_without_number")
    if found.estimate is None:
        return "cannot_tell", found.reason or missing
    if found.low is None and found.high is None:
        return "cannot_tell", Reason.of("no_interval", n=found.n)
    # An end that is not known excludes nothing.
    low = -math.inf if found.low is None else found.low
    high = math.inf if found.high is None else found.high
    if claim.by == "side":
        nothing = claim._nothing
        if nothing - claim.matters < low and high < nothing + claim.matters:
            return "did_not_hold", Reason.of("difference_does_not_matter")
    if held_within.holds(low, high):
        return "held", Reason.of("interval_as_published")
    if held_within.is_apart_from(low, high):
        return "did_not_hold", Reason.of("interval_elsewhere")
    return "cannot_tell", Reason.of("interval_reaches_beyond")
