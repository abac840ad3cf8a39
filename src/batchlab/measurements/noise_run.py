"""NoiseRun: the noise scale at steps of one training, measured in a process of its own."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from batchlab.machine import thread_choices
from batchlab.measurements.gradient_noise import GradientNoise
from batchlab.processes.children import Line
from batchlab.processes.memory import limit_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.noise_point import NoisePoint
from batchlab.records.reason import Reason
from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper

# Between two looks at the losses.
_BLOCK_STEPS = 64
# Halvings of a training's length: its points lie at a half of it, a quarter, and so on.
_HALVINGS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseRequest:
    """What to measure the noise of.

    Attributes:
        trial: the training.
        steps: where to measure, ascending.
        device: the PyTorch device.
        point_s: seconds that one point may take, about.
        memory_limit_bytes: what the process may ask for; None: what there is.
        per_layer: whether each trainable parameter is looked at alone too.
    """

    trial: Trial
    steps: tuple[int, ...]
    device: str
    point_s: float
    memory_limit_bytes: int | None
    per_layer: bool = False


def geometric_steps(last_step: int) -> tuple[int, ...]:
    """The initial weights, then ever further on: last_step halved again and again, ascending."""
    halves = {last_step >> halving for halving in range(_HALVINGS + 1)}
    return tuple(sorted({0, *halves}))


def measure_noise_along(line: Line, packed: PackedWorkload, request: NoiseRequest) -> Reason | None:
    """Train in this process, and say a `NoisePoint` at each of the steps.

    Args:
        line: the connection to the parent; every point is said as it is measured.
        packed: the workload.
        request: which training, and where to measure.

    Returns:
        Why the training could not go on to the last of the steps; None: it did.
    """
    device = torch.device(request.device)
    if request.memory_limit_bytes is not None:
        limit_memory(device, request.memory_limit_bytes)
    torch.set_num_threads(max(thread_choices(request.device)))
    workload = packed.unpack()
    stepper = Stepper(workload, request.trial, device)
    noise = GradientNoise(workload, device)
    stream, taken = stepper.stream(0), 0
    for step in request.steps:
        while taken < step:
            steps = min(_BLOCK_STEPS, step - taken)
            losses, _ = stepper.steps(stream, steps, first_step=taken)
            for loss in losses:
                if not math.isfinite(loss):
                    return Reason.of("loss_not_finite", step=taken)
                taken += 1
        line.say(_point(noise, stepper, request, step))
    return None


def _point(noise: GradientNoise, stepper: Stepper, request: NoiseRequest, step: int) -> NoisePoint:
    ends_s = time.monotonic() + request.point_s
    point = noise.sample(
        stepper.model,
        seed=step,
        optimizer=stepper.optimizer,
        per_layer=request.per_layer,
        enough=lambda: time.monotonic() > ends_s,
    )
    return replace(point, step=step, samples=request.trial.plan.samples_at(step))
