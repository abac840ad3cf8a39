"""Cadence: the steps after which a trial pauses, that is, is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from batchlab.records.batch_plan import BatchPlan

# No two pauses are further apart than this part of the samples processed by then, unless one step
# is longer. So the samples to a target are known to 5 %, whatever the batch size, because all sizes
# have the same cadence in samples.
_FARTHEST = 0.05
# Each mark, in samples, is this factor times the previous mark.
_MARK_RATIO = 1.05
# In the first part of an epoch the marks are evenly spaced instead, with this many per epoch.
_MARKS_IN_FIRST_EPOCH = 64
# Before a run has to be watched closely, marks below this factor times the last pause are skipped.
_UNWATCHED_RATIO = 1.5
# Epoch ends are thinned to 1 % of the epochs done: from epoch 200 on every second one, from epoch
# 300 on every third one, ...
_EPOCH_ENDS_KEPT = 100
# No decision needs train and test data: they are next evaluated after 1.5 times as many epochs.
_ALL_SPLITS_RATIO = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """A step after which the trial is evaluated.

    Attributes:
        step: optimizer steps done.
        all_splits: whether train and test are evaluated as well as validation.
    """

    step: int
    all_splits: bool


def pauses(
    plan: BatchPlan,
    *,
    last_step: int,
    after_step: int = 0,
    watched_from_samples: int = 0,
    interval_samples: int = 0,
) -> Iterator[Pause]:
    """Yield the pauses of a run, in order: marks at the same samples for all plans, epoch ends.

    A mark is reached by the first step that has processed at least its samples; if one step passes
    several marks, there is one pause after every step. If whole steps would leave more than 5 % of
    the samples between two marks' pauses, there are pauses between them.

    Args:
        plan: how many examples each step sees.
        last_step: the run's length in steps; there is always a pause here, on all splits.
        after_step: leave out the pauses up to this step (when a run is resumed).
        watched_from_samples: marks before this number of samples are left out unless the samples
            have grown by half since the last pause. Use it if the target can't be met there yet.
        interval_samples: the least distance of two pauses, except for the last. Marks nearer to the
            last pause or the next epoch end are left out, and so are epoch ends if an epoch is
            shorter. Use it if evaluations take as long as the steps between the marks.

    Yields:
        Pauses with increasing `step`, `after_step` < step <= `last_step`.
    """
    marks = _steps_of_marks(plan, last_step=last_step)
    ends = _steps_of_epoch_ends(plan, last_step=last_step)
    mark = next(marks, None)
    end, all_splits = next(ends, (None, False))
    last_samples = 0
    while mark is not None or end is not None:
        step = min(candidate for candidate in (mark, end) if candidate is not None)
        samples = plan.samples_at(step)
        watched = samples >= min(watched_from_samples, _UNWATCHED_RATIO * last_samples)
        is_far = samples - last_samples >= interval_samples
        if interval_samples and is_far and end is not None and step != end:
            end_samples = plan.samples_at(end)
            is_far = end_samples - samples >= interval_samples
        if (is_far and (watched or step == end)) or step == last_step:
            last_samples = samples
            if step > after_step:
                yield Pause(step=step, all_splits=step == end and all_splits)
        if mark == step:
            mark = next(marks, None)
        if end == step:
            end, all_splits = next(ends, (None, False))


def with_every_epoch_end(
    found: Iterator[Pause], plan: BatchPlan, *, after_step: int
) -> Iterator[Pause]:
    """Yield the pauses, and at every other epoch end a pause on only validation data.

    Use it for a run in which something waits for the metric at the end of every epoch.
    """
    last_step = after_step
    for pause in found:
        epoch = plan.position(last_step)[0] + 1
        while (end := plan.steps_in(epoch)) < pause.step:
            yield Pause(step=end, all_splits=False)
            epoch += 1
        yield pause
        last_step = pause.step


@lru_cache(maxsize=65536)
def n_pauses(
    plan: BatchPlan, steps: int, watched_from_samples: int = 0, interval_samples: int = 0
) -> tuple[int, int]:
    """Count the pauses of a run of `steps` steps: on only validation data, and on all data."""
    if steps < 1:
        return 0, 0
    run = pauses(
        plan,
        last_step=steps,
        watched_from_samples=watched_from_samples,
        interval_samples=interval_samples,
    )
    on_all = [pause.all_splits for pause in run]
    return on_all.count(False), on_all.count(True)


def _steps_of_marks(plan: BatchPlan, *, last_step: int) -> Iterator[int]:
    before = 0
    for mark in _marks(plan.n_train):
        step = plan.step_at(mark)
        # Rounding to whole steps can make the gap between two marks exceed `_FARTHEST`.
        while before < step:
            before = _farthest(plan, after=before, up_to=step) if before else step
            if before > last_step:
                return
            yield before


def _marks(n_train: int) -> Iterator[float]:
    """Yield the marks in samples, endlessly; they are the same numbers for every plan."""
    samples = spacing = n_train / _MARKS_IN_FIRST_EPOCH
    while True:
        yield samples
        samples += max(spacing, samples * (_MARK_RATIO - 1))


def _farthest(plan: BatchPlan, *, after: int, up_to: int) -> int:
    """Return the last step, at most `up_to`, within `_FARTHEST` of the pause at `after`."""
    before = plan.samples_at(after)
    if before < plan.n_train / _MARKS_IN_FIRST_EPOCH / _FARTHEST:
        return up_to
    step = up_to
    while step > after + 1 and before < (1 - _FARTHEST) * plan.samples_at(step):
        step -= 1
    return step


def _steps_of_epoch_ends(plan: BatchPlan, *, last_step: int) -> Iterator[tuple[int, bool]]:
    """Yield the last step of each epoch that is kept, and whether all splits are evaluated."""
    epoch, last_on_all = 1, 0
    while (step := plan.steps_in(epoch)) < last_step:
        on_all = epoch >= _ALL_SPLITS_RATIO * last_on_all
        if on_all:
            last_on_all = epoch
        yield step, on_all
        epoch += max(1, epoch // _EPOCH_ENDS_KEPT)
    yield last_step, True
