"""Race: who leads under one equal budget, whether that is clear, and what several races say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.claims import capitalised
from batchlab.report.sweep.comparison import Comparison, difference_text
from batchlab.report.sweep.equal_budget import EqualBudget, budget_split, equal_text, metric_text
from batchlab.report.sweep.evidence import Evidence
from batchlab.report.sweep.measured import Measured
from batchlab.words.catalogue import listing, text

Standing = Literal["clear", "tied", "no_interval"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """Who leads under one budget.

    Attributes:
        budget: what is equal.
        best: the name of the batch size with the best mean.
        value: that mean.
        rivals: the batch sizes that may be as good, ascending.
        standing: "clear" where it is better than every other, "tied" where some other may be as
            good, "no_interval" where one seed each tells nothing.
        text: the sentence that says so, with the numbers.
    """

    budget: EqualBudget
    best: str
    value: float
    rivals: tuple[int, ...]
    standing: Standing
    text: str

    @classmethod
    def of(cls, evidence: Evidence, budget: EqualBudget) -> Race | None:
        """Hold the best mean against all others; None where fewer than two have one.

        The best of many is always ahead of some, so each interval is as wide as it takes for all
        of them to hold together.
        """
        measured = evidence.measured(budget, budget_split(evidence.study))
        ranked = evidence.ranked(measured)
        if len(ranked) < 2:
            return None
        best, *others = ranked
        held = [measured.compare(best, other, n_comparisons=len(others)) for other in others]
        standing = _standing(held)
        level = measured.level(best)
        assert level is not None, "what is ranked has a level"
        start = _start(evidence, budget, measured, ranked)
        return cls(
            budget=budget,
            best=evidence.name(best),
            value=level,
            rivals=tuple(
                sorted(
                    other.batch_size
                    for other, comparison in zip(others, held, strict=True)
                    if comparison.outcome != "better"
                )
            ),
            standing=standing,
            text=_told(evidence, ranked, held, standing, start=start),
        )


def agreement(races: Sequence[Race]) -> str:
    """Whether the budgets have the same leader: only leaders that are clear can agree or differ."""
    clear = [race for race in races if race.standing == "clear"]
    open_ones = [race for race in races if race.standing != "clear"]
    if not clear:
        return _none_clear(races)
    if len({race.best for race in clear}) > 1:
        told = text("The budgets do not agree: {named}", named=_named(clear))
    elif len(clear) > 1:
        told = text("The same leader under several budgets: {named}", named=_named(clear))
    else:
        told = text("One budget has a clear leader: {named}", named=_named(clear))
    if not open_ones:
        return text("{told}.", told=told)
    return text("{told}; none is clear under {budgets}.", told=told, budgets=_budgets(open_ones))


def _none_clear(races: Sequence[Race]) -> str:
    if all(race.standing == "no_interval" for race in races):
        return text("Best means, without an interval: {named}.", named=_named(races))
    return text("No leader is clear under {budgets}.", budgets=_budgets(races))


def _named(races: Sequence[Race]) -> str:
    return ", ".join(
        text("{leader} under {budget}", leader=race.best, budget=equal_text(race.budget.name))
        for race in races
    )


def _budgets(races: Sequence[Race]) -> str:
    return listing([equal_text(race.budget.name) for race in races])


def _standing(held: Sequence[Comparison]) -> Standing:
    if all(comparison.missing is not None for comparison in held):
        return "no_interval"
    return "clear" if all(comparison.outcome == "better" for comparison in held) else "tied"


def _start(
    evidence: Evidence, budget: EqualBudget, measured: Measured, ranked: Sequence[Cell]
) -> str:
    levels = ", ".join(
        text(
            "{value} at {size}",
            value=quantity_text(evidence.metric, measured.level(cell)),
            size=evidence.name(cell),
        )
        for cell in ranked
    )
    return text(
        "{budget}: {metric} was {levels}",
        budget=capitalised(budget.words),
        metric=metric_text(budget_split(evidence.study), evidence.metric),
        levels=levels,
    )


def _told(
    evidence: Evidence,
    ranked: Sequence[Cell],
    held: Sequence[Comparison],
    standing: Standing,
    *,
    start: str,
) -> str:
    best, *others = map(evidence.name, ranked)
    if standing == "no_interval":
        return text("{start} ({missing}).", start=start, missing=held[0].missing)
    if standing == "clear":
        return text(
            "{start}; {best} was best, ahead of the next by {ahead}.",
            start=start,
            best=best,
            ahead=difference_text(evidence.metric, held[0]),
        )
    found = list(zip(others, held, strict=True))
    alike = [other for other, comparison in found if comparison.outcome == "same"]
    tied = [other for other, comparison in found if comparison.outcome not in ("same", "better")]
    told = start
    if tied:
        told = text(
            "{said}; these seeds do not tell {best} from {tied}, more would",
            said=told,
            best=best,
            tied=", ".join(tied),
        )
    if alike:
        told = text(
            "{said}; within {least} of {best}: {alike}",
            said=told,
            least=quantity_text(evidence.metric, evidence.tolerance),
            best=best,
            alike=", ".join(alike),
        )
    return text("{said}.", said=told)
