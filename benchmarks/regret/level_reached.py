"""How many trainings of the reference reach the level that one or two of them set.

Asked for are nine of ten: a level that half of the user's own trainings miss is none to stand on.
"""

from __future__ import annotations

import itertools
import statistics

from batchlab.advice.end_level import as_well_as, margin_of
from batchlab.engines.grid_header import WholeGridHeader
from batchlab.engines.recorded_grid import RecordedGrid
from batchlab.records.target import Target

from .whole_level import end_of, level_of, trained_values


def reached_by_others(grid: RecordedGrid, *, n_seeds: int) -> float:
    """The share, over all others and all choices of `n_seeds` seeds; the worst of these counts."""
    header = grid.header
    assert isinstance(header, WholeGridHeader)
    cell = grid.cell(header.reference_batch_size, header.reference_learning_rate)
    levels = {seed: _level(grid, header, seed) for seed in grid.cells[cell]}
    sign = 1 if header.better == "higher" else -1
    reached = []
    for chosen in itertools.combinations(levels, n_seeds):
        worst = min((levels[seed] for seed in chosen), key=lambda level: sign * level.value)
        reached += [
            grid.steps_to(grid.runs[*cell, seed], worst) is not None
            for seed in levels
            if seed not in chosen
        ]
    return sum(reached) / len(reached)


def scatter_of_ends(grid: RecordedGrid) -> float:
    """The standard deviation, from seed to seed, of what the reference ends with, in margins."""
    header = grid.header
    assert isinstance(header, WholeGridHeader)
    cell = grid.cell(header.reference_batch_size, header.reference_learning_rate)
    curves = [grid.runs[*cell, seed].curve for seed in grid.cells[cell]]
    shape = header.has_schedule
    level = level_of(curves, metric=header.metric, better=header.better, has_schedule=shape)
    ends = [end_of(curve, has_schedule=shape) for curve in curves]
    return statistics.stdev(end for end in ends if end is not None) / level.margin


def _level(grid: RecordedGrid, header: WholeGridHeader, seed: int) -> Target:
    """What one training of the reference sets."""
    size, rate = header.reference_batch_size, header.reference_learning_rate
    curve = grid.runs[*grid.cell(size, rate), seed].curve
    end = end_of(curve, has_schedule=header.has_schedule)
    assert end is not None
    metric, better = header.metric, header.better
    margin = margin_of(end, trained_values(curve), metric=metric, better=better)
    return as_well_as(end, margin, metric=metric, better=better)
