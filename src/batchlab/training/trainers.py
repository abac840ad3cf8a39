"""The choice of a trial's trainer: native (in C) if results agree with PyTorch's, or plain."""

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

# The batch sizes at which a build is checked: small batches use other kernels than large batches.
_CHECKED_SIZES = (5, 200)


def stepper_of(
    workload: Workload, trial: Trial, device: torch.device, build: NativeBuild | None
) -> tuple[Stepper, Reason | None]:
    """Return a native stepper, or a plain stepper with the reason if `build` refused the trial."""
    note = None
    if build is not None:
        try:
            return NativeStepper(workload, trial, build), None
        except RefusedError as refused:
            note = _left_to_pytorch(refused)
    return Stepper(workload, trial, device), note


def built_for(workload: Workload, trial: Trial) -> NativeBuild | Reason:
    """Build and check native code for a workload's trials; return the build, or why it failed.

    Args:
        workload: the workload to train.
        trial: any trial of the workload; the check uses `_CHECKED_SIZES` and the workload's rate.
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
