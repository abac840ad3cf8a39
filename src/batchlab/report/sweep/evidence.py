"""Evidence: what the sentences and claims of a sweep are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter

from batchlab.laws.plateau import default_delta
from batchlab.records.quantities import Better
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.parts.batch_text import batch_text
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.sweep.cells import Cell, chosen_cells
from batchlab.report.sweep.comparison import Seeds
from batchlab.report.sweep.equal_budget import (
    NAMES,
    EqualBudget,
    budget_split,
    equal_budget,
)
from batchlab.report.sweep.measured import Measured
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

    def measured(self, budget: EqualBudget, split: Split) -> Measured:
        """The metric that counts when a budget was spent."""
        by_batch_size = {
            cell.batch_size: budget.by_seed(cell, split, self.metric) for cell in self.cells
        }
        return self._of_metric(by_batch_size, split)

    def at_end(self, split: Split) -> Measured:
        """The metric that counts after equal epochs."""
        return self.measured(self.budgets[0], split)

    def final(self, split: Split) -> Measured:
        """The last known value of the metric that counts, of the trials that ended well."""
        by_batch_size = {
            cell.batch_size: {
                record.trial.seed: value
                for record in cell.ended_well
                if (value := record.final(split, self.metric)) is not None
            }
            for cell in self.cells
        }
        return self._of_metric(by_batch_size, split)

    def gaps(self, split: Split) -> Measured:
        """Train metric less that of `split` after equal epochs; the smaller overfit is better.

        Ahead in training means a gap above 0 for a metric that goes up, below 0 for one that goes
        down.
        """
        train, held_out = self.at_end("train").by_batch_size, self.at_end(split).by_batch_size
        by_batch_size = {
            cell.batch_size: {
                seed: value - held_out[cell.batch_size][seed]
                for seed, value in train[cell.batch_size].items()
                if seed in held_out[cell.batch_size]
            }
            for cell in self.cells
        }
        return Measured.of(
            by_batch_size,
            metric="generalization_gap",
            n_examples=self._n_examples(split),
            better="lower" if self.better == "higher" else "higher",
            tolerance=self.tolerance,
        )

    def _of_metric(self, by_batch_size: Mapping[int, Seeds], split: Split) -> Measured:
        return Measured.of(
            by_batch_size,
            metric=self.metric,
            n_examples=self._n_examples(split),
            better=self.better,
            tolerance=self.tolerance,
        )

    def _n_examples(self, split: Split) -> int:
        workload = self.study.workload
        return {
            "train": workload.n_train_evaluated,
            "validation": workload.n_validation or 0,
            "test": workload.n_test,
        }[split]

    def ranked(self, measured: Measured) -> list[Cell]:
        """The cells with a known value, the best mean first."""
        levels = [
            (level, cell) for cell in self.cells if (level := measured.level(cell)) is not None
        ]
        best_first = sorted(levels, key=itemgetter(0), reverse=self.better == "higher")
        return [cell for _, cell in best_first]

    def level_text(self, cell: Cell, level: float | None) -> str:
        """A value of the metric that counts and whose it is: "0.97 at batch size 64"."""
        value = quantity_text(self.metric, level)
        return text("{value} at {size}", value=value, size=self.name(cell))

    def name(self, cell: Cell) -> str:
        """A batch size in words."""
        return batch_text(self.study, cell.batch_size)
