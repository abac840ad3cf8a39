"""top-eigenvalue: the largest eigenvalue of the Hessian of the training loss."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text

# Seeds lie further apart.
_TOLERANCE = 1e-3


def _top_eigenvalue(moment: Moment) -> float:
    from batchlab.measure.sharpness import surface_at, top_eigenvalues

    return top_eigenvalues(surface_at(moment), tolerance=_TOLERANCE)[0]


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "The top eigenvalue of the Hessian is how strongly the training loss bends in its steepest "
        "direction. Plain gradient descent is stable up to a learning rate of 2 over it (Cohen et "
        "al. 2021, https://arxiv.org/abs/2103.00065)."
    )


MEASUREMENT = Measurement(
    quantity=quantity("top_eigenvalue"),
    needs="step",
    cost="some tens of passes over 2,000 training examples at the start and where an epoch ends, "
    "each as dear as two steps",
    over_seeds="mean",
    figure="at_the_end",
    on_request=True,
    at_step=_top_eigenvalue,
    notes=_notes,
)
