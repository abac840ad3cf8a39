"""largest-weight: how far the weight furthest from zero is from it."""

from __future__ import annotations

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import Quantity


def _largest_weight(moment: Moment) -> float:
    return max(float(part.detach().abs().max()) for part in moment.model.parameters())


MEASUREMENT = Measurement(
    quantity=Quantity(name="largest_weight", unit="", better=None, label="largest weight"),
    needs="step",
    cost="one pass over the parameters at each evaluation",
    over_seeds="mean",
    figure="along_training",
    at_step=_largest_weight,
)
