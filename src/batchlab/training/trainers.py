"""The trainers of a trial's steps. `plain` defines the results; others must agree with it."""

from __future__ import annotations

from dataclasses import replace

import torch

from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial
from batchlab.training.native.graph import RefusedError
from batchlab.training.native.program import NativeBuild, native_build
from batchlab.training.native.trainer import NativeStepper, self_check
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

# A build is checked at a small batch size, with kernels for few rows, and at a large one.
_CHECKED_SIZES = (5, 200)


def stepper_of(
    workload: Workload, trial: Trial, device: torch.device, build: NativeBuild | None
) -> tuple[Stepper, Reason | None]:
    """Return the native stepper if the build takes the trial, else the plain one and why."""
    note = None
    if build is not None:
        try:
            return NativeStepper(workload, trial, build), None
        except RefusedError as refused:
            note = _left_to_pytorch(refused)
    return Stepper(workload, trial, device), note


def built_for(workload: Workload, trial: Trial) -> NativeBuild | Reason:
    """Return a native build for a workload's trials that passed its check, or why there is none.

    Args:
        workload: the workload to train.
        trial: one of the trials; other batch sizes and the workload's own rate are checked.
    """
    by_reference = replace(trial, learning_rate=workload.learning_rate, scaling_rule="none")
    checked = []
    for size in {min(size, trial.n_train) for size in _CHECKED_SIZES}:
        checked.append(replace(by_reference, batch_size=size, micro_batch_size=size))
    try:
        build = native_build(workload)
        self_check(build, workload, checked)
    except RefusedError as refused:
        return _left_to_pytorch(refused)
    return build


def _left_to_pytorch(refused: RefusedError) -> Reason:
    return Reason.of("trained_by_pytorch", why=str(refused))
