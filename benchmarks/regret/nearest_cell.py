"""The recorded cell nearest to a rate that was wanted."""

from __future__ import annotations

import math

from batchlab.engines.recorded_grid import CellKey, RecordedGrid


def nearest_cell(grid: RecordedGrid, batch_size: int, learning_rate: float) -> CellKey:
    """The batch size at the recorded rate that is nearest by its log; of two as near the lower.

    Raises:
        TrialError: the grid has no such batch size.
    """
    rates = grid.learning_rates(batch_size)
    return batch_size, min(rates, key=lambda rate: (abs(math.log(rate / learning_rate)), rate))
