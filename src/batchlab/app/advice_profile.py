"""Advice profile: measure step times for an advice, and how many epochs one training takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from batchlab.app.options import candidates_in
from batchlab.app.subjects import AnySubject
from batchlab.errors import WorkloadError
from batchlab.measure.profile import MOST_PROCESSES, Profile
from batchlab.records.progress_listener import ProgressListener

# The profile may take the share `_SHARE` of the budget, but at least `_LEAST_S` and at most
# `_MOST_S` seconds. Timing 12 batch sizes of a small model once takes 7 s, and the timing is
# repeated while time is left. More timing would hardly improve an advice, because the error of step
# times is smaller than the scatter of training results between seeds.
_SHARE = 0.12
_LEAST_S = 10.0
_MOST_S = 60.0
# A profile may take at most this share of the time that is left of the budget.
_LARGEST_SHARE = 0.4
# Timing only the reference batch size, before the others are profiled, may take this many seconds.
FIRST_LOOK_S = 60.0
# Two batch sizes are compared by timing their steps in turn, in at most `_MOST_TURNS` processes.
# All may take the share `_TURNS_SHARE` of the budget, but at least `_TURNS_LEAST_S` seconds, and at
# most the time left. Only the share `_TURNS_OF_LEFT` of this time is planned. The rest is a reserve
# for processes that take longer.
_TURNS_SHARE, _TURNS_LEAST_S, _TURNS_OF_LEFT, _MOST_TURNS = 0.03, 2.0, 0.7, 4
# The first process that times two batch sizes in turn is expected to take `_TURN_LEAST_S` seconds
# plus the time of `_TURN_STEPS` steps of each batch size.
_TURN_LEAST_S, _TURN_STEPS = 0.4, 6


def needs_pilot(subject: AnySubject) -> bool:
    """Return whether a pilot run has to set the target, because one is needed and none is given."""
    return subject.target is None and subject.question.objective != "quality"


def profile_for_pilot(subject: AnySubject) -> Profile | None:
    """Profile only the reference batch size, to start a pilot run soon; None if impossible."""
    size, wanted = subject.summary.batch_size, _wanted(subject)
    # Starting a script may take minutes, so do not start one for only this profile.
    may_begin = subject.question.profile is None and subject.keeps_cadence
    if not (may_begin and needs_pilot(subject) and size in wanted and len(wanted) > 1):
        return None
    limit_s = min(FIRST_LOOK_S, _LARGEST_SHARE * subject.question.budget.time_limit_s())
    with suppress(WorkloadError):  # Profiling all batch sizes will raise this error again.
        profile = subject.profile(
            (size,), deadline_s=time.monotonic() + limit_s, listener=ProgressListener()
        )
        if is_of_the_reference_alone(profile, subject):
            return profile
    return None


def is_of_the_reference_alone(profile: Profile, subject: AnySubject) -> bool:
    """Return whether a profile has the reference batch size, but still lacks all other sizes."""
    size = subject.summary.batch_size
    tried = []
    for point in profile.points:
        tried.append((point.batch_size, point.micro_batch_size))
    if tried != [(size, size)] or len(_wanted(subject)) < 2:
        return False
    return any(o.runs for o in candidates_in(subject, profile) if o.batch_size == size)


def whole_profile(subject: AnySubject, known: Profile | None = None) -> Profile:
    """Profile all batch sizes, or raise a BudgetError if time ran out after too few sizes."""
    question, budget = subject.question, subject.question.budget
    # A script is started again for each batch size and each repetition, which takes `start_s`.
    starts_s = len(subject.candidates) * (subject.summary.start_s or 0.0)
    share_s = max(_LEAST_S, _SHARE * budget.seconds) + starts_s
    share_s = min(share_s, _MOST_S + MOST_PROCESSES * starts_s)
    allowed_s = min(share_s, _LARGEST_SHARE * budget.time_limit_s())
    wanted, size = _wanted(subject), subject.summary.batch_size
    profile = subject.profile(
        wanted, deadline_s=time.monotonic() + allowed_s, listener=question.listener, known=known
    )
    tried = {point.batch_size for point in profile.points}
    # An advice needs the workload's own batch size, which is profiled first, and an alternative.
    if profile.stopped != "time" or len(tried) >= min(2, len(wanted)):
        return profile
    # The "22 of 23" in the message comes from benchmarks/regret/rule_of_thumb.py.
    raise budget.ended(
        f"after the profile of {len(tried)} of {len(wanted)} batch sizes, and the workload's own, "
        f"{size}, and another are needed (twice your batch size and rate did no worse on 22 of 23 "
        f"recorded workloads)"
    )


def _wanted(subject: AnySubject) -> tuple[int, ...]:
    """Return the batch sizes to profile: only the workload's own if sizes cannot be compared."""
    if subject.why_not_comparable is not None:
        return (subject.summary.batch_size,)
    return subject.candidates


def timed_in_turn(
    subject: AnySubject, here: Profile, sizes: Sequence[int]
) -> Iterator[tuple[float, ...]]:
    """Time two batch sizes in turn; yield the ratios of their step times, once for each process."""
    budget = subject.question.budget
    points = [p for p in map(here.best_micro_batch, sizes) if p is not None]
    most_s = max(_TURNS_LEAST_S, _TURNS_SHARE * budget.seconds)
    left_s = _TURNS_OF_LEFT * budget.time_limit_s(most_s)
    took_s = _TURN_LEAST_S + _TURN_STEPS * sum(map(here.about_step_s, sizes))
    for _ in range(_MOST_TURNS):
        if left_s <= took_s:
            return
        began_s = time.monotonic()
        ended = subject.in_turn(points, timeout_s=left_s)
        took_s = time.monotonic() - began_s
        left_s -= took_s
        if ended.value is None:
            return
        yield ended.value
