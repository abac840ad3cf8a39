"""Profile: `batchlab.profile` measures step time and memory by batch size on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal

from batchlab.app.question import Request, asked
from batchlab.app.subjects import subject_of
from batchlab.errors import WorkloadError
from batchlab.measure.profile import Profile
from batchlab.random_state import untouched_randomness
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Setting
from batchlab.script.command import TrainingCommand
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload

PROFILING = "measuring each batch size"


@untouched_randomness()
def profile(
    workload: Workload | TrainingCommand | str = "mnist-mlp",
    *,
    batch_sizes: Sequence[int | Literal["full"]] | None = None,
    settings: Mapping[str, Setting] | None = None,
    device: str = "cpu",
    memory_limit_bytes: int | None = None,
    budget: str | float = "60s",
    listener: ProgressListener | None = None,
) -> Profile:
    """Measure step time and memory of `workload` by batch size; find the largest size that fits.

    Each batch size runs in a separate process, from the smallest up, until a size does not fit into
    memory. Then the largest size that fits is searched for, and larger sizes run in micro-batches.
    While time is left, sizes that ran without micro-batches are timed again in more processes.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        batch_sizes: examples per step, from 1 to the number N of training examples, or "full" for
            N; None for 1, 2, 4, ... N, and the workload's own.
        settings: settings of the workload or its optimizer.
        device: "cpu", "cuda" or "cuda:1".
        memory_limit_bytes: judge which sizes fit as if the device had only this many bytes; None
            for all of its memory.
        budget: a limit on the whole call's time, such as "90s", "5m" or "1h30m", or in seconds.
        listener: receives progress; None prints a line per stage in a notebook, else nothing.

    Returns:
        The profile. It includes batch sizes that did not run, with the reason.

    Raises:
        BatchlabError: a value is not possible, the workload cannot be trained, or the budget is too
            small; the message says what to do.
    """
    return profiled(asked("profile", **locals()))


def profiled(question: Request) -> Profile:
    """Carry out a request for `profile`, from Python or from the command line."""
    subject = subject_of(question)
    question.listener.begins(command="profile", subject=subject.name, stages=())
    subject.look(lambda: subject.batch_sizes)
    question.listener.phase(text(PROFILING))
    deadline_s = time.monotonic() + question.budget.time_limit_s()
    profile = subject.profile(
        subject.batch_sizes, deadline_s=deadline_s, listener=question.listener
    )
    if not profile.points:
        raise question.budget.ended("before a batch size was timed")
    if not any(point.ran for point in profile.points):
        reason = reason_text(profile.points[0].reason)
        raise WorkloadError(f"no batch size of {subject.name!r} could be timed: {reason}")
    return profile
