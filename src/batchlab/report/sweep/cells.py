"""Cell: the trials of one batch size at one learning rate, one per seed."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.study import MetricSummary, Study
from batchlab.records.trial import Split, TrialRecord
from batchlab.report.parts.held_out import deciding_split, final_gaps, finals
from batchlab.report.parts.spread import Spread


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The trials of one batch size at one learning rate.

    Attributes:
        batch_size: examples per step.
        learning_rate: peak learning rate.
        records: its trials, one per seed, in the order they were asked for.
    """

    batch_size: int
    learning_rate: float
    records: tuple[TrialRecord, ...]

    @property
    def ended_well(self) -> tuple[TrialRecord, ...]:
        """The trials whose numbers may be averaged."""
        return tuple(record for record in self.records if record.ended_well)

    @property
    def others(self) -> tuple[TrialRecord, ...]:
        """The trials that ended badly or have not ended: shown one by one, never averaged."""
        return tuple(record for record in self.records if not record.ended_well)

    def final(self, split: Split, metric: str) -> Spread | None:
        """The last known `metric` of every trial that ended well, None where none has one."""
        return finals(self.ended_well, split, metric)

    def final_gap(self, held_out: Split, metric: str) -> Spread | None:
        """Train metric less held-out metric at the last evaluation that knows both."""
        return final_gaps(self.ended_well, held_out, metric)


def cells(study: Study) -> tuple[Cell, ...]:
    """All cells of a study, by batch size and then by learning rate."""
    found: dict[tuple[int, float], list[TrialRecord]] = {}
    for record in study.records:
        found.setdefault((record.trial.batch_size, record.trial.learning_rate), []).append(record)
    return tuple(
        Cell(batch_size=batch_size, learning_rate=learning_rate, records=tuple(records))
        for (batch_size, learning_rate), records in sorted(found.items())
    )


def chosen_cells(study: Study) -> tuple[Cell, ...]:
    """For every batch size the cell whose curves the report shows.

    Where several learning rates were run that is the one with the best mean final value of the
    study's first metric on validation data (train data where there are none). Rates at which
    every seed ended well come before rates at which some did.
    """
    metric = study.workload.metrics[0]
    split = deciding_split(study)
    by_batch_size: dict[int, list[Cell]] = {}
    for cell in cells(study):
        by_batch_size.setdefault(cell.batch_size, []).append(cell)
    return tuple(
        max(choices, key=lambda cell: _preference(cell, split, metric))
        for choices in by_batch_size.values()
    )


def _preference(cell: Cell, split: Split, metric: MetricSummary) -> tuple[bool, bool, float]:
    final = cell.final(split, metric.name)
    if final is None:
        return False, False, 0.0
    return True, not cell.others, final.mean if metric.better == "higher" else -final.mean
