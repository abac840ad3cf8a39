"""Races table: who is ahead in equal epochs, steps and time, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.report.parts.estimate_text import interval_only_text
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.sweep.comparison import Comparison
from batchlab.report.sweep.equal_budget import budget_split, metric_text
from batchlab.report.sweep.evidence import Evidence
from batchlab.report.sweep.race import Race, races
from batchlab.words.catalogue import text


def races_table(evidence: Evidence) -> Table:
    """One row a budget and batch size, the best first; no rows where there is nothing to race."""
    metric = evidence.metric
    return Table(
        caption=text(
            "{metric} in equal epochs, steps and time; the intervals of one budget hold together, "
            "95 times in 100",
            metric=metric_text(budget_split(evidence.study), metric),
        ),
        columns=(
            Column(key="budget", quantity="batch", label=text("budget")),
            Column(key="batch_size", quantity="batch", label=text("batch size")),
            Column(key="mean", quantity=metric, label=label_text(metric)),
            Column(key="behind", quantity=metric, label=text("behind the best by")),
            Column(key="interval", quantity="batch", label=text("95 % interval")),
            Column(key="standing", quantity="batch", label=text("how sure")),
        ),
        rows=tuple(row for race in races(evidence) for row in _rows(evidence, race)),
    )


def _rows(evidence: Evidence, race: Race) -> Iterator[tuple[Value, ...]]:
    budget = race.budget.words
    yield (budget, evidence.name(race.leader), race.level, None, "", text("ahead"))
    for other in race.others:
        found = other.comparison.difference
        yield (
            budget,
            evidence.name(other.cell),
            other.level,
            None if found.estimate is None else abs(found.estimate),
            interval_only_text(evidence.metric, found),
            _standing_text(evidence, other.comparison),
        )


def _standing_text(evidence: Evidence, comparison: Comparison) -> str:
    if comparison.missing is not None:
        return comparison.missing
    if comparison.outcome == "better":
        return text("worse")
    if comparison.outcome == "same":
        least = quantity_text(evidence.metric, evidence.tolerance)
        return text("as good, within {least}", least=least)
    return text("may be as good")
