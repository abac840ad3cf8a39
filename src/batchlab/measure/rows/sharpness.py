"""sharpness: how much the training loss can grow in a small box around the weights."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text

_EPSILON = 1e-3


def _sharpness(moment: Moment) -> float:
    """In the box around all weights, in percent."""
    from batchlab.measure.sharpness import sharpness, surface_at

    return sharpness(surface_at(moment), epsilon=_EPSILON)


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "Sharpness is how much the training loss can grow, in percent, when every weight may move "
        "by a thousandth of its size plus one thousandth. Large batches are said to end in sharp "
        "minima, which would generalize worse (Keskar et al. 2017, "
        "https://arxiv.org/abs/1609.04836). Others doubt that sharpness decides this (Dinh et al. "
        "2017, https://arxiv.org/abs/1703.04933)."
    )


MEASUREMENT = Measurement(
    quantity=quantity("sharpness"),
    needs="step",
    cost="about sixty passes over 2,000 training examples at the start and where an epoch ends",
    over_seeds="mean",
    figure="at_the_end",
    on_request=True,
    at_step=_sharpness,
    notes=_notes,
)
