"""Evidence: what the sentences and claims of a sweep are held against."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.laws.plateau import default_delta
from batchlab.records.quantities import Better
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.sweep.cells import Cell, chosen_cells
from batchlab.report.sweep.comparison import Comparison, Seeds, compare
from batchlab.report.sweep.equal_budget import (
    NAMES,
    EqualBudget,
    budget_split,
    equal_budget,
)
from batchlab.words.catalogue import text


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the claims are held against.

    Attributes:
        study: the study.
        cells: of every batch size the cell that the report shows, where a trial ended well.
        budgets: the equal budgets that exist, epochs first.
    """

    study: Study
    cells: tuple[Cell, ...]
    budgets: tuple[EqualBudget, ...]

    @classmethod
    def of(cls, study: Study) -> Evidence:
        """Gather the cells and the budgets of a study."""
        cells = tuple(cell for cell in chosen_cells(study) if cell.ended_well)
        budgets = (equal_budget(study, cells, name) for name in NAMES)
        return cls(
            study=study,
            cells=cells,
            budgets=tuple(budget for budget in budgets if budget is not None),
        )

    @property
    def metric(self) -> str:
        """The metric that counts."""
        return self.study.workload.metrics[0].name

    @property
    def better(self) -> Better:
        """Its direction."""
        return self.study.workload.metrics[0].better

    @property
    def tolerance(self) -> float:
        """The difference that does not matter: the delta of the plateau rule."""
        finals = [cell.final(budget_split(self.study), self.metric) for cell in self.cells]
        values = [final.mean for final in finals if final is not None]
        return default_delta(self.metric, values) if values else 0.0

    def at_end(self, cell: Cell, split: Split) -> Seeds:
        """By seed, the metric after equal epochs."""
        return self.budgets[0].by_seed(cell, split, self.metric)

    def compare(self, first: Seeds, second: Seeds, *, n_comparisons: int = 1) -> Comparison:
        """Compare two cells on the metric that counts."""
        return compare(
            first,
            second,
            better=self.better,
            tolerance=self.tolerance,
            n_comparisons=n_comparisons,
        )

    def name(self, cell: Cell) -> str:
        """A batch size in words."""
        return batch_text(self.study, cell.batch_size)


def batch_text(study: Study, batch_size: int) -> str:
    """A batch size in words: "batch size 64", "full batch"."""
    if batch_size == study.workload.n_train:
        return text("full batch")
    return text("batch size {batch_size}", batch_size=batch_size)
