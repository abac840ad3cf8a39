"""Noise: `batchlab.noise` measures a workload's gradient noise at points of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from batchlab.app.options import checked_trials
from batchlab.app.question import Request, asked
from batchlab.app.subjects import WorkloadSubject
from batchlab.errors import UsageError, WorkloadError
from batchlab.machine import environment
from batchlab.measure.gradient_noise import geometric_steps, measure_noise_along
from batchlab.measure.noise import Noise, NoisePoint, NoiseWorkload
from batchlab.processes.children import Child, Ended, raise_if_hopeless
from batchlab.random_state import untouched_randomness
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import OUT_OF_TIME
from batchlab.records.trial import Setting, Trial
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload, check_has_loss

# The share of the remaining budget that the measurement at one step may take.
_POINT_FRACTION = 0.2


@untouched_randomness()
def noise(
    workload: Workload | str = "mnist-mlp",
    *,
    steps: int | None = None,
    settings: Mapping[str, Setting] | None = None,
    device: str = "cpu",
    memory_limit_bytes: int | None = None,
    budget: str | float = "60s",
    listener: ProgressListener | None = None,
) -> Noise:
    """Measure the gradient noise scale of `workload` during a training with its own settings.

    A separate process measures the scale at the initial weights, at the last step, and at the last
    step divided by 2, 4, 8 and so on. Each measurement adds training examples until the interval is
    within ± 20 %, or until nearly all examples are used.

    Args:
        workload: a Workload, a built-in name, or `path/file.py:name`.
        steps: the last step to measure at; 0 for only the initial weights; None for the end of the
            workload's planned training, or of 10 epochs.
        settings: settings of the workload or its optimizer.
        device: "cpu", "cuda" or "cuda:1".
        memory_limit_bytes: the memory that the process may allocate; None for no limit.
        budget: a limit on the whole call's time, such as "90s", "5m" or "1h30m", or in seconds.
        listener: receives progress; None prints a line per stage in a notebook, else nothing.

    Returns:
        The noise at every step that was measured within the budget.

    Raises:
        BatchlabError: a value is not possible, the workload cannot be trained, or the budget is too
            small; the message says what to do.
    """
    return noise_along(asked("noise", **locals()))


def noise_along(question: Request) -> Noise:
    """Carry out a request for `noise`, from Python or from the command line."""
    # Omit `steps`: the learning-rate schedule spans all planned steps, also those not measured.
    steps, subject = question.steps, WorkloadSubject(replace(question, steps=None))
    check_has_loss(subject.workload, "the noise of the gradient")
    question.listener.begins(command="noise", subject=subject.name, stages=())
    subject.look(lambda: _last_step(subject, subject.reference, steps))
    (trial,) = checked_trials(subject)
    measured_steps = geometric_steps(_last_step(subject, trial, steps))
    points, stopped = _measured(subject, trial, measured_steps)
    return Noise(
        workload=NoiseWorkload(
            workload_id=subject.summary.workload_id,
            name=subject.name,
            n_train=subject.summary.n_train,
            batch_size=trial.batch_size,
            learning_rate=trial.learning_rate,
        ),
        device=trial.device,
        environment=environment(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        along=points,
        steps=measured_steps,
        stopped=stopped,
    )


def _last_step(subject: WorkloadSubject, trial: Trial, steps: int | None) -> int:
    """Return the last step to measure at; refuse a step after the end of a rate schedule."""
    planned = subject.length.last_step(trial)
    if steps is None:
        return planned
    if steps > planned and subject.has_shape:
        raise UsageError(
            f"steps={steps}: the learning rate of workload {subject.name!r} has a schedule over "
            f"{subject.epochs} epochs, which are {planned} steps; ask for at most as many"
        )
    return steps


def _measured(
    subject: WorkloadSubject, trial: Trial, steps: tuple[int, ...]
) -> tuple[tuple[NoisePoint, ...], Reason | None]:
    """Measure the noise in a child process; return its points, and why some are missing, if any."""
    question = subject.question
    budget, listener = question.budget, question.listener
    listener.phase("measuring gradient noise")
    points: list[NoisePoint] = []
    point_s = _POINT_FRACTION * budget.time_limit_s()
    limits = point_s, question.memory_limit_bytes
    child = Child(measure_noise_along, subject.packed, trial, steps, question.device, *limits)
    try:
        while child.connection.poll(budget.time_limit_s()):
            message = child.receive()
            if isinstance(message, Ended):
                raise_if_hopeless(message)
                reason = message.value if message.status is None else message.reason
                if not points:
                    raise WorkloadError(
                        f"workload {subject.summary.reference!r}: the noise of its gradient cannot "
                        f"be measured: {reason_text(reason)}"
                    )
                return tuple(points), reason
            points.append(message)
            listener.progress(
                done_fraction=len(points) / len(steps),
                left_s=None,
                text=f"step {message.step}",
            )
        if points:
            return tuple(points), OUT_OF_TIME
        raise budget.ended("before the noise of the initial weights was measured")
    finally:
        child.kill()
