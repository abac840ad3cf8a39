"""Noise: `batchlab.noise` measures how noisy a workload's gradient is along its own training."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from batchlab.app.options import fitting_trials
from batchlab.app.public_call import public_call
from batchlab.app.question import asked
from batchlab.app.subjects import WorkloadSubject
from batchlab.errors import UsageError, WorkloadError
from batchlab.machine import environment
from batchlab.measure.gradient_noise import NoiseRequest, geometric_steps, measure_noise_along
from batchlab.measure.noise import Noise, NoisePoint, NoiseWorkload
from batchlab.processes.children import Child, Ended, refuse_edited
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import OUT_OF_TIME
from batchlab.records.trial import Setting, Trial
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload, check_has_loss

# The share of the budget that one point may take.
_POINT_FRACTION = 0.2


@public_call
def noise(
    workload: Workload | str = "mnist-mlp",
    *,
    steps: int | None = None,
    settings: Mapping[str, Setting] | None = None,
    device: str = "cpu",
    memory_limit_bytes: int | None = None,
    budget: str | float = "60s",
    reserved_s: float = 0.0,
    listener: ProgressListener | None = None,
) -> Noise:
    """Measure the gradient noise scale of `workload` along a training of its own configuration.

    The scale is measured in its own process, at the initial weights and at steps that double from
    point to point. Each point takes enough examples for an interval of ± 20 %, or all examples.

    Args:
        workload: a Workload, a built-in name, or `path/file.py:name`.
        steps: the last step to measure at; 0 for only the initial weights; None for the end of the
            workload's planned training, or of 10 epochs.
        settings: settings of the workload or its optimizer.
        device: "cpu", "cuda" or "cuda:1".
        memory_limit_bytes: the memory that the process may ask for; None for all there is.
        budget: a limit on the whole call's time, such as "90s", "5m" or "1h30m", or in seconds.
        reserved_s: seconds of the budget that the caller needs for its own work around the call.
        listener: receives the progress; None for the calling notebook cell, if there is one.

    Returns:
        The noise at every point that the budget reached.

    Raises:
        UsageError: a value is not possible; the message says which values are.
        WorkloadError: the workload cannot be loaded or trained.
        BudgetError: the budget ended before the first point.
    """
    if steps is not None and steps < 0:
        raise UsageError(f"steps={steps}: expected 0, for the initial weights alone, or more")
    question = asked(
        "noise",
        workload=workload,
        settings=settings,
        device=device,
        memory_limit_bytes=memory_limit_bytes,
        budget=budget,
        reserved_s=reserved_s,
        listener=listener,
    )
    subject = WorkloadSubject(question)
    check_has_loss(subject.workload, "the noise of the gradient")
    subject.planned(lambda: _last_step(subject, subject.reference, steps))
    question.listener.begins(command="noise", subject=subject.name, stages=())
    subject.look()
    (trial,) = fitting_trials(subject)
    request = NoiseRequest(
        trial=trial,
        steps=geometric_steps(_last_step(subject, trial, steps)),
        device=device,
        point_s=_POINT_FRACTION * question.budget.time_limit_s(),
        memory_limit_bytes=memory_limit_bytes,
    )
    surroundings = environment()
    points, stopped = _measured(subject, request)
    return Noise(
        workload=NoiseWorkload(
            workload_id=subject.summary.workload_id,
            name=subject.name,
            n_train=subject.summary.n_train,
            batch_size=trial.batch_size,
            learning_rate=trial.learning_rate,
        ),
        device=trial.device,
        environment=surroundings,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        along=points,
        steps=request.steps,
        stopped=stopped,
    )


def _last_step(subject: WorkloadSubject, trial: Trial, steps: int | None) -> int:
    """Return the last step to measure at, or refuse one beyond the learning rate's schedule."""
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
    subject: WorkloadSubject, request: NoiseRequest
) -> tuple[tuple[NoisePoint, ...], Reason | None]:
    """Return the points in order, and why some are missing, or None if they are complete."""
    budget, listener = subject.question.budget, subject.question.listener
    listener.phase("measuring gradient noise")
    points: list[NoisePoint] = []
    child = Child(measure_noise_along, subject.packed, request)
    try:
        while child.connection.poll(budget.time_limit_s()):
            message = child.receive()
            if isinstance(message, Ended):
                refuse_edited(message)
                reason = message.value if message.status is None else message.reason
                if not points:
                    raise WorkloadError(
                        f"workload {subject.summary.reference!r}: the noise of its gradient cannot "
                        f"be measured: {reason_text(reason)}"
                    )
                return tuple(points), reason
            points.append(message)
            listener.progress(
                done_fraction=len(points) / len(request.steps),
                left_s=None,
                text=f"step {message.step}",
            )
        if points:
            return tuple(points), OUT_OF_TIME
        raise budget.ended("before the noise of the initial weights was measured")
    finally:
        child.kill()
