"""Race: who leads under one equal budget, and whether that is clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.comparison import Comparison
from batchlab.report.sweep.equal_budget import EqualBudget, budget_split
from batchlab.report.sweep.evidence import Evidence

Standing = Literal["clear", "tied", "no_interval"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Behind:
    """A batch size beside the leader.

    Attributes:
        cell: its trials.
        level: its mean.
        comparison: the leader against it.
    """

    cell: Cell
    level: float
    comparison: Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """Who leads under one budget.

    Attributes:
        budget: what is equal.
        leader: the cell with the best mean.
        level: that mean.
        others: the other batch sizes, the best first.
    """

    budget: EqualBudget
    leader: Cell
    level: float
    others: tuple[Behind, ...]

    @classmethod
    def of(cls, evidence: Evidence, budget: EqualBudget) -> Race | None:
        """Hold the best mean against all others; None where fewer than two have one.

        The best of many is always ahead of some, so each interval is as wide as it takes for all
        of them to hold together.
        """
        measured = evidence.measured(budget, budget_split(evidence.study))
        ranked = [(cell, measured.level(cell)) for cell in evidence.ranked(measured)]
        known = [(cell, level) for cell, level in ranked if level is not None]
        if len(known) < 2:
            return None
        (leader, best), *others = known
        return cls(
            budget=budget,
            leader=leader,
            level=best,
            others=tuple(
                Behind(
                    cell=cell,
                    level=level,
                    comparison=measured.compare(leader, cell, n_comparisons=len(others)),
                )
                for cell, level in others
            ),
        )

    @property
    def standing(self) -> Standing:
        """Whether the leader is better than every other; one seed each tells nothing."""
        if all(other.comparison.missing is not None for other in self.others):
            return "no_interval"
        return "tied" if self.rivals else "clear"

    @property
    def rivals(self) -> tuple[int, ...]:
        """The batch sizes that may be as good, ascending."""
        return tuple(
            sorted(
                other.cell.batch_size
                for other in self.others
                if other.comparison.outcome != "better"
            )
        )


def races(evidence: Evidence) -> tuple[Race, ...]:
    """The race under every equal budget that exists, epochs first."""
    found = (Race.of(evidence, budget) for budget in evidence.budgets)
    return tuple(race for race in found if race is not None)
