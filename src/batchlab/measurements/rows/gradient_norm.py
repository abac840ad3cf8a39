"""gradient-norm: the Euclidean norm of the last step's gradient."""

from __future__ import annotations

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity


def _gradient_norm(moment: Moment) -> float | None:
    """None before the first step."""
    from batchlab.measurements.batch_gradient import gradient_norm  # it loads torch

    norm = gradient_norm(moment.model.parameters())
    return None if norm is None else float(norm)


MEASUREMENT = Measurement(
    quantity=quantity("gradient_norm"),
    needs="step",
    cost="one pass over the parameters at each evaluation",
    over_seeds="mean",
    figure="along_training",
    at_step=_gradient_norm,
)
