"""Measure a profile: run each batch size in a child process on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter

import torch

from batchlab.errors import WorkloadError
from batchlab.machine import environment
from batchlab.measure.blocks import TIMED_S
from batchlab.measure.profile import FEWEST_PROCESSES, Profile, ProfiledWorkload, ProfilePoint
from batchlab.measure.profile_search import ProfileSearch
from batchlab.measure.step_time import measure_compiled, measure_step_time
from batchlab.processes.children import Ended, Line, run_in_child
from batchlab.processes.memory import PeakMemory, available_bytes, limit_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.study import StepTiming
from batchlab.records.trial import Status, Trial
from batchlab.training.evaluator import Evaluator, evaluation_batch, n_train_evaluated
from batchlab.training.stepper import Stepper
from batchlab.words.numbers import english_number
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import SPLITS, size_of

# A probe process may reserve twice the memory limit plus 1 GiB, because reserved memory counts
# against the limit only once it is used.
_ASKED_FOR_FACTOR = 2
_ASKED_FOR_BYTES = 2**30
_UNSTEADY_FRACTION = 0.3  # warn about timings with a larger `unsteadiness_fraction`


def measure_profile(
    packed: PackedWorkload,
    trial: Trial,
    batch_sizes: Iterable[int],
    *,
    device: str,
    memory_limit_bytes: int | None,
    may_accumulate: bool,
    deadline_s: float,
    listener: ProgressListener,
    known: Profile | None = None,
) -> Profile:
    """Measure time and memory of the batch sizes, each in a child process, one at a time.

    `trial` has all settings except the batch sizes. The memory limit may be lower than this
    device's memory, to represent a smaller device. When the clock `time.monotonic()` reaches
    `deadline_s`, the profile measured until then is returned, perhaps without points. Sizes in a
    `known` profile are only timed again. If `known` is None, the memory of an evaluation, which is
    the same for all sizes, is measured once, at the first size that fits.

    Raises:
        WorkloadError: no batch size could be trained, or nothing fits in memory.
    """
    evaluation: Ended | None = None
    on = torch.device(device)
    wall_bytes = _wall_bytes(on, memory_limit_bytes)

    def probe(size: int, micro: int, *, limit_s: float) -> ProfilePoint:
        nonlocal evaluation
        shaped = replace(trial, batch_size=size, micro_batch_size=micro)
        ended = run_in_child(
            measure_step_time, packed, shaped, device, TIMED_S, wall_bytes, timeout_s=limit_s
        )
        timing, peak_bytes = ended.value, None
        if timing is not None:
            assert isinstance(timing, StepTiming)
            peak_bytes = timing.peak_bytes
        fits = timing and (peak_bytes or 0) <= (memory_limit_bytes or math.inf)
        if fits and evaluation is None and known is None:
            evaluation = run_in_child(
                *(_evaluation_bytes, packed, shaped, on, wall_bytes),
                timeout_s=max(0.0, deadline_s - time.monotonic()) / 2,
            )
            _refuse_if_beyond(evaluation, memory_limit_bytes, trial.workload)
            if evaluation.status is not None:
                reason = reason_text(evaluation.reason)
                listener.warning(f"the memory of an evaluation is not known ({reason})")
        return ProfilePoint(
            batch_size=size,
            micro_batch_size=micro,
            status=ended.status or Status.OK,
            reason=ended.reason,
            timing=timing,
            peak_bytes=peak_bytes,
        )

    untried = known or untried_profile(trial, device=device, memory_limit_bytes=memory_limit_bytes)
    search = ProfileSearch(
        probe,
        replace(untried, stopped=None),
        left_s=lambda: deadline_s - time.monotonic(),
        listener=listener,
        may_accumulate=may_accumulate,
    )
    profile = profile_of(search, batch_sizes)
    if evaluation is None:
        return profile
    return replace(profile, evaluation_bytes=evaluation.value)


def with_compiled_times(
    profile: Profile,
    packed: PackedWorkload,
    trial: Trial,
    *,
    device: str,
    deadline_s: float,
    listener: ProgressListener,
) -> Profile:
    """Return the profile with the step times of the compiled model.

    Compiling takes far longer than timing, so one child times all batch sizes, and a second child
    times them again. If a child fails, warn and return the profile unchanged.
    """
    # Time the workload's own size first, because the compile time is measured at the first size.
    reference = profile.workload.batch_size
    ran = sorted(profile.ran_points, key=lambda point: point.batch_size != reference)
    shapes = [(*point.shape, point.threads) for point in ran]
    timings = list[StepTiming]()
    for _ in range(FEWEST_PROCESSES):
        left_s = max(0.0, deadline_s - time.monotonic())
        ended = run_in_child(measure_compiled, packed, trial, shapes, device, timeout_s=left_s)
        if ended.value is None:
            listener.warning(
                f"step times are those of the module inside torch.compile, because the compiled "
                f"one was not timed: {reason_text(ended.reason)}"
            )
            return profile
        timings += ended.value
    points, half = list[ProfilePoint](), len(ran)
    for point, first, second in zip(ran, timings[:half], timings[half:], strict=True):
        points.append(replace(point, timing=first, again=(second,)))
    return replace(profile.with_points(points), compile_s=timings[0].warmup_s[0])


def _refuse_if_beyond(evaluation: Ended, limit: int | None, name: str) -> None:
    """Raise an error if an evaluation exceeds the memory limit, because then no batch size fits."""
    if limit is None:
        return
    used = evaluation.value
    if (used or 0) > limit or evaluation.status is Status.OOM:
        raise WorkloadError(
            f"memory limit {_text(limit)}: an evaluation of workload {name!r} needs "
            f"{_need(used)}, whatever the batch size; give a larger --memory-limit, fewer examples "
            "to evaluate, or a metric that adds up over batches (batchlab.Metric(sum=...)) "
            "instead of `over_all`"
        )


def _wall_bytes(device: torch.device, limit_bytes: int | None) -> int | None:
    """Return the most bytes that a probe process may reserve; None if unlimited."""
    if device.type == "cuda":
        return limit_bytes  # no margin is needed: on a GPU, only memory in use is reserved
    available = available_bytes(device)
    if limit_bytes is None:
        return available
    allowed = _ASKED_FOR_FACTOR * limit_bytes + _ASKED_FOR_BYTES
    return min(allowed, available or allowed)


def _evaluation_bytes(
    line: Line,
    packed: PackedWorkload,
    trial: Trial,
    device: torch.device,
    wall_bytes: int | None,
) -> int | None:
    """Evaluate the largest split as a trial would; return the peak memory of this process."""
    limit_memory(device, wall_bytes)
    memory, workload = PeakMemory(device), packed.unpack()
    stepper = Stepper(workload, trial, device)
    stepper.steps(stepper.stream(0), 1, first_step=0)
    at_once = evaluation_batch(trial, reference_batch_size=workload.batch_size)
    torch.cuda.empty_cache()
    # A new PeakMemory resets the recorded peak, so that the training step does not count. But what
    # this process has allocated since `memory` was made, and still uses, does count.
    PeakMemory(device)
    n_of = {split: size_of(getattr(workload, split)) for split in SPLITS}
    n_of["train"] = n_train_evaluated(n_of["train"])
    evaluator = Evaluator(workload, device, batch_size=at_once)
    evaluator.scores(stepper.model, (max(SPLITS, key=n_of.__getitem__),))
    return memory.bytes()


def untried_profile(trial: Trial, *, device: str, memory_limit_bytes: int | None) -> Profile:
    """Return a profile of this machine without any points, from which a search can start."""
    machine = environment()
    name = dict(machine)["processor"]
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    return Profile(
        workload=ProfiledWorkload(
            workload_id=trial.workload_id,
            name=trial.workload,
            n_train=trial.n_train,
            batch_size=trial.batch_size,
        ),
        device=trial.device,
        device_name=name,
        memory_limit_bytes=memory_limit_bytes,
        environment=machine,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        points=(),
    )


def profile_of(search: ProfileSearch, batch_sizes: Iterable[int]) -> Profile:
    """Run the search over these batch sizes, warn about uncertain times, and return the profile.

    Raises:
        WorkloadError: no batch size could be trained, or none fits in the memory limit.
    """
    profile = search.run(batch_sizes)
    statuses = {point.status for point in profile.points}
    if statuses and Status.OK not in statuses:
        raise WorkloadError(_why_nothing_runs(profile))
    _warn(profile, search.listener)
    return profile


def _why_nothing_runs(profile: Profile) -> str:
    """Return the error message for a profile in which no batch size ran."""
    name, limit = profile.workload.name, profile.memory_limit_bytes
    first = min(profile.points, key=lambda point: point.status is not Status.OOM)
    if first.status is Status.OOM and limit is not None:
        return (
            f"memory limit {_text(limit)}: workload {name!r} needs {_need(first.limited_bytes)} at "
            f"batch size {first.batch_size}, the smallest that was tried; give a larger "
            f"--memory-limit, or a smaller model"
        )
    tried = ", ".join(map(str, sorted(profile.batch_sizes)))
    reason = (reason_text(first.reason) or str(first.status)).rstrip(".")
    if first.status is Status.TIMEOUT:
        reason += "; a larger --budget gives it longer"
    return f"workload {name!r} could be trained at no batch size (tried {tried}): {reason}"


def _warn(profile: Profile, listener: ProgressListener) -> None:
    if profile.evaluations_in_steps is not None:
        listener.warning(reason_text(profile.evaluations_in_steps))
    unsteady = []
    for point in profile.points:
        fractions = map(attrgetter("unsteadiness_fraction"), point.timings)
        is_unsteady = max(fractions, default=0.0) > _UNSTEADY_FRACTION
        if is_unsteady or profile.timed_s(point).is_too_wide:
            unsteady.append(str(point.batch_size))
    if unsteady:
        listener.warning(
            f"the machine was busy, or its speed changed, while these batch sizes were timed: "
            f"{', '.join(unsteady)}. So their times are less certain. Profile again on a quiet "
            f"machine"
        )


def _need(n_bytes: int | None) -> str:
    return "more" if n_bytes is None else _text(n_bytes)


def _text(n_bytes: int) -> str:
    return english_number(n_bytes, "peak_bytes")
