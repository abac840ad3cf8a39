"""WholeTraining: how long a training of one configuration is, where the end of one was seen."""

from __future__ import annotations

import math

from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import StudyState

# A rate that takes longer to the level gets half as much again, so that its last quarter lies
# beyond it.
_BEYOND_THE_LEVEL = 1.5


def whole_steps(state: StudyState, cell: CellKey) -> int:
    """The steps of a whole training of a batch size and rate.

    As many passes as the reference takes to its end, or `_BEYOND_THE_LEVEL` of what its own rate
    takes to the level.

    Args:
        state: the runs; the end of a training was seen.
        cell: batch size and rate.
    """
    assert state.end is not None
    size = cell[0]
    steps = state.run_log.plan(size).steps_in(state.end.epochs)
    tuned = state.tuned.get(size)
    if tuned is not None and cell == state.cell(size) and tuned.learning_cost is not None:
        steps = max(steps, math.ceil(_BEYOND_THE_LEVEL * tuned.learning_cost))
    return min(steps, state.run_log.longest_steps(size))
