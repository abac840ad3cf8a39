"""Trainers: what takes the steps of a trial. `plain` is the meaning; others must agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial
from batchlab.training.evaluator import MetricSums
from batchlab.training.native.graph import RefusedError
from batchlab.training.native.program import NativeBuild, native_build
from batchlab.training.native.scores import NativeScores
from batchlab.training.native.trainer import NativeStepper, self_check
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

PLAIN, NATIVE = "plain", "native"

# A build is checked at a size with kernels of its own for few rows, and at one for many.
_CHECKED_SIZES = (5, 200)
# A compiler that is not done by then hangs: it takes two seconds.
_COMPILER_S = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainer:
    """What takes the steps of a trial.

    Attributes:
        name: of its kind.
        stepper: takes the steps.
        fast: adds up metrics in its own way; None: it has none.
        note: why it is not the one that was built; None: it is, or none was.
    """

    name: str
    stepper: Stepper
    fast: MetricSums | None = None
    note: Reason | None = None


def trainer_of(
    workload: Workload,
    trial: Trial,
    device: torch.device,
    build: NativeBuild | None,
) -> Trainer:
    """The trainer of a trial: by what was built for its workload, else the plain one."""
    if build is None:
        return Trainer(name=PLAIN, stepper=Stepper(workload, trial, device))
    try:
        stepper = NativeStepper(workload, trial, build)
    except RefusedError as refused:
        plain = trainer_of(workload, trial, device, None)
        return replace(plain, note=Reason.of("trained_plainly", why=refused.reason))
    fast = None if build.unmeasured is not None else NativeScores(build, stepper.model)
    return Trainer(name=NATIVE, stepper=stepper, fast=fast)


def built_for(workload: Workload, trial: Trial) -> NativeBuild | Reason:
    """What the trials of a workload can be trained with natively, or why they can't.

    Args:
        workload: what is trained.
        trial: one of its trials; another batch size and the workload's own rate take their place.
    """
    try:
        build = native_build(workload, timeout_s=_COMPILER_S)
        self_check(build, workload, _checked(workload, trial))
    except RefusedError as refused:
        return refused.reason
    return build


def _checked(workload: Workload, trial: Trial) -> Sequence[Trial]:
    sizes = {min(size, trial.n_train) for size in _CHECKED_SIZES}
    return [
        replace(
            trial,
            batch_size=size,
            micro_batch_size=size,
            learning_rate=workload.learning_rate,
            scaling_rule="none",
        )
        for size in sizes
    ]
