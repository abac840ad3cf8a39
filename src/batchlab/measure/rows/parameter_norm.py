"""parameter-norm: how far the weights are from zero."""

from __future__ import annotations

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity


def _parameter_norm(moment: Moment) -> float:
    """The Euclidean norm of all parameters together."""
    import torch

    parts = [torch.linalg.vector_norm(part.detach()) for part in moment.model.parameters()]
    return float(torch.linalg.vector_norm(torch.stack([part.double() for part in parts])))


MEASUREMENT = Measurement(
    quantity=quantity("parameter_norm"),
    needs="step",
    cost="one pass over the parameters at each evaluation",
    over_seeds="mean",
    figure="along_training",
    at_step=_parameter_norm,
)
