"""gradient-norm: the Euclidean norm of the last step's gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity

if TYPE_CHECKING:
    from torch import Tensor


def _gradient_norm(moment: Moment) -> float | None:
    """None before the first step."""
    import torch

    gradients = [part.grad for part in moment.model.parameters() if part.grad is not None]
    if not gradients:
        return None
    norms = torch.stack([torch.linalg.vector_norm(_values(part)) for part in gradients])
    return float(torch.linalg.vector_norm(norms))


def _values(gradient: Tensor) -> Tensor:
    """All entries of a gradient; of a sparse one (an embedding's) those that are not 0."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


MEASUREMENT = Measurement(
    quantity=quantity("gradient_norm"),
    needs="step",
    cost="one pass over the parameters at each evaluation",
    over_seeds="mean",
    figure="along_training",
    at_step=_gradient_norm,
)
