"""A model at a moment of a training that measurements look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tests.reference.made_up import made_up_trial
from torch import Tensor, nn

from batchlab.records.measurement import Moment
from batchlab.records.trial import Trial
from batchlab.workload.definition import Workload


def moment_of(
    model: nn.Module,
    *,
    initial: Sequence[Tensor] = (),
    before: Sequence[Tensor] = (),
    workload: Workload | None = None,
    trial: Trial | None = None,
    step: int = 10,
) -> Moment:
    """The model where an epoch ends."""
    return Moment(
        model=model,
        initial=initial,
        before=before,
        workload=workload,
        device=torch.device("cpu"),
        trial=trial or made_up_trial(),
        step=step,
        has_all_splits=True,
    )
