"""Replication: published numbers beside our own, each claim with its verdict, as records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from batchlab.records.estimate import Estimate, Reason
from batchlab.records.shown import ShownInNotebook, document_of

Verdict = Literal["held", "did_not_hold", "cannot_tell"]
Form = Literal["quick", "full"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """From `low` to `high`; null: it is open there. Both the same: a single number."""

    low: float | None
    high: float | None

    def holds(self, low: float, high: float) -> bool:
        """Whether all from `low` to `high` lies in it; the end that "> 1" names does not."""
        if self.low is None or self.high is None:
            return (self.low is None or self.low < low) and (self.high is None or high < self.high)
        return self.low <= low and high <= self.high

    def is_apart_from(self, low: float, high: float) -> bool:
        """Whether nothing from `low` to `high` lies in it."""
        if self.low is None or self.high is None:
            below = self.low is not None and high <= self.low
            return below or (self.high is not None and low >= self.high)
        return high < self.low or low > self.high

    def widened(self, *, within: float, factor: float) -> Range:
        """By so much on either side, and by this factor of a positive end."""

        def moved(end: float | None, sign: int) -> float | None:
            # For people: 0.3 less 0.1 + 0.2 is 0.0, neither -5.6e-17 nor -0.0.
            return None if end is None else round(end * factor**sign + sign * within, 12) + 0.0

        return Range(low=moved(self.low, -1), high=moved(self.high, 1))

    @property
    def number(self) -> float | None:
        """The single number that it is; None: it is a range."""
        return self.low if self.low == self.high else None


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedRow:
    """A row of a table of published numbers, as it is there.

    Attributes:
        source: the paper.
        quantity: what is told.
        condition: of which runs.
        value: a number, a range ("3 to 10", "> 0"), or words.
        uncertainty: what the source says of it, "" for nothing.
        unit: "" for a pure number.
        verified: "yes": found in a source; "no": believed; "derived": made of what was found, by
            arithmetic or as a number for what is said in words.
        note: where it was found, or what it was derived from.
    """

    source: str
    quantity: str
    condition: str
    value: str
    uncertainty: str
    unit: str
    verified: Literal["yes", "no", "derived"]
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedClaim:
    """A claim held against what was measured here.

    Attributes:
        claim: what is said, in a sentence.
        source: the rows that say so.
        quantity: the quantity that both numbers are of.
        measured_as: what was measured here, in words.
        published: what follows of the rows for what was measured; null: they hold no number.
        held_within: where the measured interval must lie for the claim to hold: the published
            number with the claim's tolerance, or its side of no difference.
        measured: our own number.
        verdict: held, did_not_hold or cannot_tell.
        why: what decided.
    """

    claim: str
    source: tuple[PublishedRow, ...]
    quantity: str
    measured_as: str
    published: Range | None
    held_within: Range | None
    measured: Estimate
    verdict: Verdict
    why: Reason

    @property
    def is_verified(self) -> bool:
        """Whether each of its rows was found in a source, or made of what was."""
        return all(row.verified != "no" for row in self.source)


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnPoint:
    """A point of a figure: of a series at a place, with its interval."""

    series: str
    at: float | str
    value: Estimate
    is_published: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A figure: points of a quantity over another one, or over named arms (`configuration`)."""

    title: str
    over: str
    quantity: str
    points: tuple[DrawnPoint, ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A sweep that a replication consists of: what was asked, and what came of it.

    Attributes:
        name: what the paper calls it.
        asked: the sweep's arguments, as a line of Python.
        study: its identity in the store; null: it was not begun.
        trials: how many trainings that is.
        finished: how many of them came to their end, good or bad.
    """

    name: str
    asked: str
    study: str | None
    trials: int
    finished: int

    @property
    def is_finished(self) -> bool:
        """Whether all that it asks for was trained."""
        return self.study is not None and self.finished == self.trials


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Replication(ShownInNotebook):
    """A published experiment, run here: its numbers beside ours.

    Attributes:
        name: of the replication, such as "keskar2017".
        title: what it asks.
        paper: what is replicated.
        form: "quick", or "full" with the paper's sizes.
        created_at: ISO 8601, UTC.
        command: the command line that asked for it.
        environment: names and values: versions, processor, cores, operating system.
        protocol: what is trained, in sentences.
        left_open: what the source does not say, and what was taken.
        smaller: what the quick form has less of than the full one; empty: it is the full one.
        claims: each with its verdict.
        drawings: the figures.
        arms: the sweeps behind it.
        spent_s: seconds spent on these so far, over all sessions.
        store: where they are.
    """

    name: str
    title: str
    paper: str
    form: Form
    created_at: str
    command: str
    environment: tuple[tuple[str, str], ...]
    protocol: tuple[str, ...]
    left_open: tuple[str, ...]
    smaller: tuple[str, ...]
    claims: tuple[JudgedClaim, ...]
    drawings: tuple[Drawing, ...]
    arms: tuple[Arm, ...]
    spent_s: float
    store: str

    @property
    def is_finished(self) -> bool:
        """Whether all that it asks for was trained."""
        return all(arm.is_finished for arm in self.arms)

    def __repr__(self) -> str:
        """Which it is, and how many claims have which verdict."""
        return (
            f"Replication(name={self.name!r}, form={self.form!r}, held={self.count('held')}, "
            f"did_not_hold={self.count('did_not_hold')}, cannot_tell={self.count('cannot_tell')})"
        )

    def to_dict(self) -> dict[str, Any]:
        """What `batchlab replicate --json` prints, described by docs/schema/replicate.json."""
        return document_of(self)

    def count(self, verdict: Verdict) -> int:
        """How many claims have this verdict."""
        return sum(claim.verdict == verdict for claim in self.claims)


def range_of(value: str) -> Range | None:
    """The number or range that a table's value is: "98", "3 to 10", "> 0", "2^9"; None: words."""
    text = value.strip()
    if text[:1] in ("<", ">"):
        end = _number(text[1:])
        if end is None:
            return None
        return Range(low=end, high=None) if text[0] == ">" else Range(low=None, high=end)
    ends = [_number(part) for part in text.split(" to ")]
    if len(ends) > 2 or None in ends:
        return None
    return Range(low=ends[0], high=ends[-1])


def _number(text: str) -> float | None:
    base, _, power = text.strip().partition("^")
    try:
        found = float(base) ** float(power) if power else float(base)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
