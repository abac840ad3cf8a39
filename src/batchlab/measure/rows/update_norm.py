"""update-norm: how far the last step moved the weights."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text


def _update_norm(moment: Moment) -> float:
    """The Euclidean norm of the change of all parameters together."""
    from batchlab.measure.distance import distance_between

    return distance_between(moment.model.parameters(), moment.before)


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "The length of a step is how far the last step moved all weights together: the gradient, "
        "what momentum or Adam make of it, times the learning rate."
    )


MEASUREMENT = Measurement(
    quantity=quantity("update_norm"),
    needs="step",
    cost="a copy of the parameters and one pass over them at each evaluation",
    over_seeds="mean",
    figure="along_training",
    at_step=_update_norm,
    notes=_notes,
)
