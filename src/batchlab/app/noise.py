"""Noise: `batchlab.noise`, how noisy a workload's gradient is along its own training."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from batchlab.app.argument_names import known_arguments_only
from batchlab.app.budget import Budget
from batchlab.app.subject import PreparedWorkload, fitting_trials, known_by_its_model
from batchlab.errors import BudgetError, UsageError, WorkloadError
from batchlab.machine import environment
from batchlab.measure.gradient_noise import NoiseRequest, geometric_steps, measure_noise_along
from batchlab.measure.noise import Noise
from batchlab.plans.sweep_request import SweepRequest, checked_request, plan_trials
from batchlab.processes.children import Child, Ended, refuse_edited
from batchlab.random_state import untouched_randomness
from batchlab.records.estimate import Reason
from batchlab.records.noise import NoisePoint
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunLength
from batchlab.records.trial import Setting, Trial
from batchlab.report.progress import listener_or_notebook
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload, check_has_loss
from batchlab.workload.loading import loaded_workload

# Of the budget, that one point may take.
_POINT_FRACTION = 0.2


@known_arguments_only
def noise(
    workload: Workload | str = "mnist-mlp",
    *,
    steps: int | None = None,
    per_layer: bool = False,
    settings: Mapping[str, Setting] | None = None,
    device: str = "cpu",
    memory_limit_bytes: int | None = None,
    budget: str | float = "60s",
    reserved_s: float = 0.0,
    listener: ProgressListener | None = None,
) -> Noise:
    """Measure the gradient noise scale of `workload` along a training of its own configuration.

    It is measured at the initial weights and at steps that double from point to point, in a process
    of its own. At each, as many examples are taken as give an interval of 20 % either way, or all.

    Args:
        workload: a Workload, a built-in name, or `path/file.py:name`.
        steps: the last step to measure at; 0: the initial weights alone; None: the end of the
            workload's planned training, or of 10 epochs.
        per_layer: whether each trainable parameter is looked at alone too, from micro-batches.
        settings: of the workload or its optimizer.
        device: "cpu", "cuda" or "cuda:1".
        memory_limit_bytes: what the process may ask for; None: what there is.
        budget: a ceiling on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds.
        reserved_s: the part of the budget that the caller needs for what it does around the call.
        listener: told how it gets on; None: the cell of the notebook that asks, if one does.

    Returns:
        The noise at every point that the budget reached.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        WorkloadError: the workload cannot be loaded or trained.
        BudgetError: the budget ended before the first point.
    """
    ceiling = Budget(budget, reserved_s=reserved_s)
    listener = listener_or_notebook(listener)
    if steps is not None and steps < 0:
        raise UsageError(f"steps={steps}: expected 0, for the initial weights alone, or more")
    with untouched_randomness():
        loaded = loaded_workload(workload, settings or {})
        check_has_loss(loaded.workload, "the noise of the gradient")
        own = _own_request(loaded.workload, device)
        (trial,) = plan_trials(loaded, own)
        _last_step(loaded.workload, trial, own.length, steps)  # refused before anything is run
        loaded = known_by_its_model(loaded, ceiling, None)
        (trial,) = plan_trials(loaded, own)
        prepared = PreparedWorkload(loaded, device=device, budget=ceiling, listener=listener)
        del loaded, workload
        listener.begins(command="noise", subject=trial.workload, stages=())
        summary = prepared.summary(None)
        (trial,) = fitting_trials(summary, (trial,), own, listener)
        prepared.let_go_of_data()
        last_step = _last_step(prepared.loaded.workload, trial, own.length, steps)
        request = NoiseRequest(
            trial=trial,
            steps=geometric_steps(last_step),
            device=device,
            point_s=_POINT_FRACTION * ceiling.time_limit_s(),
            memory_limit_bytes=memory_limit_bytes,
            per_layer=per_layer,
        )
        found = environment()
        points, stopped = _measured(prepared, request, listener)
    return Noise(
        workload_id=summary.workload_id,
        workload=summary.name,
        n_train=summary.n_train,
        batch_size=trial.batch_size,
        learning_rate=trial.learning_rate,
        device=trial.device,
        environment=found,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        points=points,
        steps=request.steps,
        stopped=stopped,
    )


def _own_request(workload: Workload, device: str) -> SweepRequest:
    """The workload's own configuration, seed 0, as long as its planned training."""
    return checked_request(
        batch_sizes=(workload.batch_size,),
        learning_rates=None,
        seeds=1,
        epochs=workload.epochs,
        steps=None,
        scaling_rule="none",
        sampling="reshuffle",
        drop_last=False,
        micro_batch_size=None,
        device=device,
    )


def _last_step(workload: Workload, trial: Trial, length: RunLength, steps: int | None) -> int:
    """The last step to measure at.

    Raises:
        UsageError: it lies beyond a learning-rate schedule.
    """
    planned = length.last_step(trial)
    if steps is not None and steps > planned and workload.has_schedule:
        raise UsageError(
            f"steps={steps}: the learning rate of workload {workload.name!r} has a schedule over "
            f"{length.epochs} epochs, which are {planned} steps; ask for at most as many"
        )
    return planned if steps is None else steps


def _measured(
    prepared: PreparedWorkload, request: NoiseRequest, listener: ProgressListener
) -> tuple[tuple[NoisePoint, ...], Reason | None]:
    """The points in their order, and why there are not more of them.

    Raises:
        BudgetError: there is none, for the time has run out.
        WorkloadError: there is none, for another reason.
    """
    listener.phase("measuring gradient noise")
    points: list[NoisePoint] = []
    child = Child(measure_noise_along, prepared.packed, request)
    try:
        while child.connection.poll(prepared.budget.time_limit_s()):
            said = child.receive()
            if isinstance(said, Ended):
                refuse_edited(said)
                return _ended(prepared, points, said)
            points.append(said)
            listener.progress(
                done_fraction=len(points) / len(request.steps),
                left_s=None,
                text=f"step {said.step}",
            )
        if points:
            return tuple(points), Reason.of("noise_out_of_time", step=request.steps[len(points)])
        assert prepared.budget.seconds is not None
        raise BudgetError(
            f"budget {prepared.budget.seconds:.3g} s: it ended before the noise of the initial "
            f"weights was measured; give a larger --budget"
        )
    finally:
        child.kill()


def _ended(
    prepared: PreparedWorkload, points: list[NoisePoint], ended: Ended
) -> tuple[tuple[NoisePoint, ...], Reason | None]:
    reason = ended.value if ended.status is None else ended.reason
    if not points:
        raise WorkloadError(
            f"workload {prepared.loaded.reference!r}: the noise of its gradient cannot be "
            f"measured: {reason_text(reason)}"
        )
    return tuple(points), reason
