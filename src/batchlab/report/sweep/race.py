"""Race: who leads under one equal budget, and the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.laws.statistics import mean_interval
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.claims import capitalised
from batchlab.report.sweep.comparison import difference_text
from batchlab.report.sweep.equal_budget import (
    EqualBudget,
    budget_split,
    metric_text,
)
from batchlab.report.sweep.evidence import Evidence
from batchlab.words.catalogue import text


def ranked_cells(evidence: Evidence, budget: EqualBudget) -> list[Cell]:
    """The cells with a known value under the budget, the best mean first."""
    split = budget_split(evidence.study)
    means = {
        cell.batch_size: mean_interval(
            list(budget.by_seed(cell, split, evidence.metric).values())
        ).estimate
        for cell in evidence.cells
    }
    known = [cell for cell in evidence.cells if means[cell.batch_size] is not None]
    return sorted(
        known, key=lambda cell: means[cell.batch_size] or 0.0, reverse=evidence.better == "higher"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """Who leads under one budget, and the sentence that says so."""

    leader: str
    text: str

    @classmethod
    def of(cls, evidence: Evidence, budget: EqualBudget, ranked: list[Cell]) -> Race:
        """Hold the best mean against all others.

        The best of many is always ahead of some, so each interval is as wide as it takes for all
        of them to hold together.
        """
        split, metric = budget_split(evidence.study), evidence.metric
        values = [budget.by_seed(cell, split, metric) for cell in ranked]
        best, others = evidence.name(ranked[0]), ranked[1:]
        comparisons = [
            evidence.compare(values[0], value, n_comparisons=len(others)) for value in values[1:]
        ]
        levels = ", ".join(
            text(
                "{value} at {size}",
                value=quantity_text(metric, mean_interval(list(value.values())).estimate),
                size=evidence.name(cell),
            )
            for cell, value in zip(ranked, values, strict=True)
        )
        start = text(
            "{budget}: {metric} was {levels}",
            budget=capitalised(budget.words),
            metric=metric_text(split, metric),
            levels=levels,
        )
        missing = [comparison.missing for comparison in comparisons]
        if missing[0] is not None and None not in missing:
            told = text("{start} ({missing}).", start=start, missing=missing[0])
            return cls(leader=text("{best} (no interval)", best=best), text=told)
        tied = [
            evidence.name(other)
            for other, comparison in zip(others, comparisons, strict=True)
            if comparison.outcome != "better"
        ]
        if tied:
            told = text(
                "{start}; no difference beyond scatter, or of more than {least}, between {best} "
                "and {tied}.",
                start=start,
                least=quantity_text(metric, evidence.tolerance),
                best=best,
                tied=", ".join(tied),
            )
            return cls(leader=text("no clear leader"), text=told)
        told = text(
            "{start}; {best} was best, ahead of the next by {ahead}.",
            start=start,
            best=best,
            ahead=difference_text(metric, comparisons[0]),
        )
        return cls(leader=best, text=told)
