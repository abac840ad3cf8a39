"""parameter-norm: how far the model is from zero."""

from __future__ import annotations

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import Quantity


def _parameter_norm(moment: Moment) -> float:
    import torch

    parts = [torch.linalg.vector_norm(part.detach()) for part in moment.model.parameters()]
    return float(torch.linalg.vector_norm(torch.stack(parts)))


MEASUREMENT = Measurement(
    quantity=Quantity(name="parameter_norm", unit="", better=None, label="parameter norm"),
    needs="step",
    cost="one pass over the parameters at each evaluation",
    over_seeds="mean",
    figure="along_training",
    at_step=_parameter_norm,
)
