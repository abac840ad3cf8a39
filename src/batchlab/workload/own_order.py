"""OwnOrder: training examples that come in an order which batchlab does not choose."""

from __future__ import annotations

from batchlab.errors import UsageError, WorkloadError
from batchlab.records.trial import Sampling
from batchlab.workload.definition import Workload
from batchlab.workload.stream import is_stream


def order_notes(workload: Workload) -> tuple[str, ...]:
    """What a reader must know of the order of its training examples.

    Raises:
        WorkloadError: what chooses the order cannot be used for its kind of data.
    """
    if is_stream(workload.train):
        for name in ("make_sampler", "workers"):
            if getattr(workload, name):
                raise WorkloadError(
                    f"workload {workload.name!r}: {name} is given and train is read in its own "
                    f"order, by the training itself; leave {name} out"
                )
        return ("its training examples come in the order that its own data set gives them",)
    if workload.make_sampler is not None:
        return ("its make_sampler chooses the examples of each epoch and their order",)
    return ()


def check_sampling(workload: Workload, sampling: Sampling) -> None:
    """Refuse a way of sampling where the workload chooses for itself.

    Raises:
        UsageError: another one than the default.
    """
    if sampling == "reshuffle" or not order_notes(workload):
        return
    raise UsageError(
        f"sampling {sampling}: workload {workload.name!r} chooses the order of its training "
        f"examples itself; leave sampling out"
    )
