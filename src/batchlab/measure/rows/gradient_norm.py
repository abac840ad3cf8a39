"""gradient-norm: the Euclidean norm of the last step's gradient."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text


def _gradient_norm(moment: Moment) -> float | None:
    """None before the first step."""
    from batchlab.measure.loss_check import gradient_norm

    norm = gradient_norm(moment.model.parameters())
    return None if norm is None else float(norm)


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "The gradient norm is that of the last batch, with its noise: of two batches at the same "
        "weights the smaller one's gradient is longer."
    )


MEASUREMENT = Measurement(
    quantity=quantity("gradient_norm"),
    needs="step",
    cost="one pass over the parameters at each evaluation",
    over_seeds="mean",
    figure="along_training",
    at_step=_gradient_norm,
    notes=_notes,
)
