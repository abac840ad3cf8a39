"""TrainingFit: which batch sizes fit their training data alike, so that the rest can be compared.

A run that has hardly trained has no generalization to speak of: its held-out metric says how far
training got. So claims about generalization compare runs of similar training fit only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from batchlab.laws.plateau import STARTED_DELTAS
from batchlab.report.parts.batch_text import batch_sizes_text
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.report.sweep.cells import Cell
from batchlab.report.sweep.equal_budget import metric_text
from batchlab.report.sweep.evidence import Evidence
from batchlab.words.catalogue import text

# The margin in tolerances: 0.01 of an accuracy, 5 % of a held-out loss. A held-out difference below
# it would be no claim that people make; a training fit within it explains no larger one.
_TOLERANCES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFit:
    """Which batch sizes fit their training data alike after equal epochs.

    Attributes:
        alike: the cells within the margin of the best fit, that one included.
        others: the cells beyond it.
        begun: whether the best fit is clearly better than the untrained models' mean; True where
            that is not known.
        metric: the training metric in words.
        best: its best value, and of which cell, in words.
        worst: its worst, likewise.
        margin: the difference beyond which two fits are not alike, in words.
    """

    alike: tuple[Cell, ...]
    others: tuple[Cell, ...]
    begun: bool
    metric: str
    best: str
    worst: str
    margin: str

    @classmethod
    def of(cls, evidence: Evidence) -> TrainingFit | None:
        """The training fit of the compared cells; None where the train metric is not known."""
        measured = evidence.at_end("train")
        levels = [
            (cell, level) for cell in evidence.cells if (level := measured.level(cell)) is not None
        ]
        if not levels:
            return None
        choose = max if evidence.better == "higher" else min
        first, best = choose(levels, key=lambda found: found[1])
        last, worst = max(levels, key=lambda found: abs(found[1] - best))
        margin = _TOLERANCES * evidence.tolerance
        alike = tuple(cell for cell, level in levels if abs(level - best) <= margin)
        return cls(
            alike=alike,
            others=tuple(cell for cell in evidence.cells if cell not in alike),
            begun=_begun(evidence, best),
            metric=metric_text("train", evidence.metric),
            best=evidence.level_text(first, best),
            worst=evidence.level_text(last, worst),
            margin=quantity_text(evidence.metric, margin),
        )

    def why_not_tested(self, evidence: Evidence) -> str:
        """Why no two batch sizes can be compared, with the numbers."""
        budget = evidence.budgets[0].words
        if not self.begun:
            return text(
                "Little has been learned yet: in {budget} the best {metric} is {best}, hardly "
                "better than before training. More epochs or a higher learning rate would tell.",
                budget=budget,
                metric=self.metric,
                best=self.best,
            )
        return text(
            "Some have trained further than others: in {budget} {metric} is {best}, but {worst}, "
            "more than {margin} apart. More epochs, or a tuned rate for each, would tell.",
            budget=budget,
            metric=self.metric,
            best=self.best,
            worst=self.worst,
            margin=self.margin,
        )

    def left_out(self, evidence: Evidence) -> str | None:
        """Which batch sizes are left out and why; None where none is."""
        if not self.others:
            return None
        return text(
            "Left out: {sizes}, whose {metric} is more than {margin} off the best. That shows how "
            "far training got, not how it generalizes.",
            sizes=batch_sizes_text(evidence.study, [cell.batch_size for cell in self.others]),
            metric=self.metric,
            margin=self.margin,
        )


def _begun(evidence: Evidence, best: float) -> bool:
    untrained = [
        value
        for cell in evidence.cells
        for record in cell.ended_well
        for at, value in record.curve("train", evidence.metric)
        if at.step == 0
    ]
    gained = best - fmean(untrained) if untrained else math.inf
    return abs(gained) > STARTED_DELTAS * evidence.tolerance
