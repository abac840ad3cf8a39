"""A model at a moment of a training that measurements look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from batchlab.records.measurement import Moment
from batchlab.workload.definition import Workload


def moment_of(
    model: nn.Module, *, initial: Sequence[Tensor] = (), workload: Workload | None = None
) -> Moment:
    """The model where an epoch ends."""
    return Moment(
        model=model,
        initial=initial,
        workload=workload,
        device=torch.device("cpu"),
        has_all_splits=True,
    )
