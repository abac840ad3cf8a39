"""WholeTraining: how long the trainings are that are compared, where the end of one was seen."""

from __future__ import annotations

from collections.abc import Iterable

from batchlab.advice.run_log import CellKey
from batchlab.advice.study_state import StudyState

# A rate that takes longer to the level gets half as much again, so that its last quarter lies
# beyond it.
BEYOND_THE_LEVEL = 1.5
# Recorded trainings end at an evaluation, and these lie up to 5 % apart: so much of one is whole.
NEARLY_WHOLE = 0.95


def compare_over_whole_trainings(state: StudyState, cells: Iterable[CellKey]) -> None:
    """Let the trainings of these configurations be equally long from here on.

    As many passes as the reference takes to its end; where one of them is slower to the level,
    `BEYOND_THE_LEVEL` of what that takes. No longer than the question allows.

    Args:
        state: the runs; the end of a training was seen.
        cells: the configurations that are compared, each a batch size and its rate.
    """
    assert state.end is not None
    longest = state.end.epochs
    for size, rate in cells:
        tuned = state.tuned.get(size)
        if tuned is None or (size, rate) != state.cell(size) or tuned.learning_cost is None:
            continue
        steps = round(BEYOND_THE_LEVEL * tuned.learning_cost)
        longest = max(longest, state.run_log.plan(size).epoch_at(steps))
    state.whole_epochs = min(longest, state.question.longest_epochs or longest)


def whole_steps(state: StudyState, batch_size: int) -> int:
    """The steps of a whole training.

    Args:
        state: the runs; the end of a training was seen.
        batch_size: examples per step.
    """
    assert state.end is not None
    epochs = state.whole_epochs or state.end.epochs
    steps = state.run_log.plan(batch_size).steps_in(epochs)
    return min(steps, state.run_log.longest_steps(batch_size))


def has_fewer_left(state: StudyState, n: float, *, at_once: int) -> bool:
    """Whether the budget has fewer than `n` whole trainings of the reference left.

    Args:
        state: the runs; the end of a training was seen.
        n: how many.
        at_once: how many of them go side by side.
    """
    size, run_log = state.question.reference.batch_size, state.run_log
    whole_s = run_log.run_s(size, whole_steps(state, size))
    return run_log.left_s() * at_once < n * whole_s
