"""distance: how far the weights have come from where they began."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text


def _distance(moment: Moment) -> float:
    """The Euclidean distance of all trainable parameters together from the initial ones."""
    import torch

    parts = [
        torch.linalg.vector_norm(part.detach() - initial)
        for part, initial in zip(moment.model.parameters(), moment.initial, strict=True)
    ]
    return float(torch.linalg.vector_norm(torch.stack([part.double() for part in parts])))


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "The distance from the initial weights grows about as the logarithm of the steps at a "
        "large rate, so that what takes fewer steps stays nearer (Hoffer et al. 2017, "
        "https://arxiv.org/abs/1705.08741)."
    )


MEASUREMENT = Measurement(
    quantity=quantity("distance"),
    needs="step",
    cost="one pass over the parameters at each evaluation, and a copy of the initial ones",
    over_seeds="mean",
    figure="along_training",
    at_step=_distance,
    notes=_notes,
)
