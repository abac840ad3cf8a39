"""One more measurement of a model at a step."""

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import Quantity


def largest_weight(moment: Moment) -> float:
    return max(float(part.detach().abs().max()) for part in moment.model.parameters())


MORE = (
    Measurement(
        quantity=Quantity(name="largest_weight", unit="", label="largest weight"),
        figure="along_training",
    ),
)
