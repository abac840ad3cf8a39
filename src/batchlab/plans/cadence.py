"""Cadence: chooses the steps of a training after which the model is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from batchlab.records.batch_plan import BatchPlan

# The samples between two evaluations are at most this fraction of all samples up to the second one.
# So the number of samples needed to reach a target is known to within 5 % at every batch size.
# Evaluations may be farther apart only if a single step processes more samples.
_FARTHEST = 0.05
# The model is evaluated at fixed sample counts; each is this factor times the one before.
_MARK_RATIO = 1.05
# In about the first third of the first epoch, the sample counts are evenly spaced instead: every
# 1/64 of the training examples.
_MARKS_IN_FIRST_EPOCH = 64
# As long as the target can't be reached yet, evaluations are rarer: each has at least this factor
# times the samples of the previous one.
_UNWATCHED_RATIO = 1.5
# The model is evaluated at every epoch end up to epoch 200, then at every second one, from epoch
# 300 on at every third, and so on: the distance in epochs is epoch / this number, rounded down.
_EPOCH_ENDS_KEPT = 100
# Train and test data are evaluated again after the number of epochs has grown by this factor.
_ALL_SPLITS_RATIO = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """A step after which the trial is evaluated.

    Attributes:
        step: the number of optimizer steps done before the evaluation.
        all_splits: whether train and test data are evaluated in addition to validation data.
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
    """Yield the evaluations of a run in order: at epoch ends and at fixed sample counts.

    The sample counts are the same for all plans. The model is evaluated after the step that reaches
    a sample count, and only once if this step reaches several counts. Evaluations are added between
    two evaluations if more than 5 % of all processed samples would lie between them.

    Args:
        plan: the batch size of each step.
        last_step: the run's length in steps; the last step is always evaluated, on all splits.
        after_step: leave out evaluations up to this step, because a resumed run already has them.
        watched_from_samples: the number of samples before which the target can't be reached. Up to
            this number, an evaluation at a sample count has at least 1.5 times the samples of the
            previous evaluation.
        interval_samples: the fewest samples between two evaluations, except before `last_step`.
            Evaluations that would come sooner are left out, and epoch ends take precedence over
            sample counts.

    Yields:
        Evaluations in increasing order of `step`, with `after_step` < step <= `last_step`.
    """
    marks = _steps_of_marks(plan, last_step=last_step)
    mark, last_samples = next(marks, None), 0
    for end, all_splits in _steps_of_epoch_ends(plan, last_step=last_step):
        end_samples, steps = plan.samples_at(end), []
        while mark is not None and mark <= end:
            steps.append(mark)
            mark = next(marks, None)
        for step in dict.fromkeys([*steps, end]):
            samples = plan.samples_at(step)
            is_kept = samples - last_samples >= interval_samples
            if step < end:
                watched = samples >= min(watched_from_samples, _UNWATCHED_RATIO * last_samples)
                is_kept = is_kept and watched and end_samples - samples >= interval_samples
            if is_kept or step == last_step:
                last_samples = samples
                if step > after_step:
                    yield Pause(step=step, all_splits=step == end and all_splits)


def with_every_epoch_end(
    found: Iterator[Pause], plan: BatchPlan, *, after_step: int
) -> Iterator[Pause]:
    """Yield the evaluations in `found`; add one on validation data at each epoch end without one.

    This is needed if early stopping or a scheduler uses the metric at the end of every epoch.
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
    """Return how many evaluations of a run use only validation data, and how many all splits."""
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
        # Sample counts are rounded up to whole steps, so two of these steps may be too far apart.
        # Then also evaluate between them.
        while before < step:
            before = _farthest(plan, after=before, up_to=step) if before else step
            if before > last_step:
                return
            yield before


def _marks(n_train: int) -> Iterator[float]:
    """Yield the endless series of sample counts at which every plan is evaluated."""
    samples = spacing = n_train / _MARKS_IN_FIRST_EPOCH
    while True:
        yield samples
        samples += max(spacing, samples * (_MARK_RATIO - 1))


def _farthest(plan: BatchPlan, *, after: int, up_to: int) -> int:
    """Return the last step up to `up_to` that `_FARTHEST` allows after an evaluation at `after`."""
    before = plan.samples_at(after)
    if before < plan.n_train / _MARKS_IN_FIRST_EPOCH / _FARTHEST:
        return up_to
    step = up_to
    while step > after + 1 and before < (1 - _FARTHEST) * plan.samples_at(step):
        step -= 1
    return step


def _steps_of_epoch_ends(plan: BatchPlan, *, last_step: int) -> Iterator[tuple[int, bool]]:
    """Yield each epoch end at which to evaluate: its step, and whether to evaluate all splits."""
    epoch, last_on_all = 1, 0
    while (step := plan.steps_in(epoch)) < last_step:
        on_all = epoch >= _ALL_SPLITS_RATIO * last_on_all
        if on_all:
            last_on_all = epoch
        yield step, on_all
        epoch += max(1, epoch // _EPOCH_ENDS_KEPT)
    yield last_step, True
