"""CoupledLoss: what an advice may say where a loss couples the examples of a batch.

A contrastive loss compares an example with the others of its batch, so every batch size trains on
another loss, and so does a batch cut into pieces. The evaluations cut validation data into the same
batches for all (`evaluation_batch`), which makes evaluated losses one function, but not the one
that any of the batch sizes was trained on: a size near that of the evaluations would look best.
So by such a loss no batch sizes are compared. A metric over a fixed pool (retrieval among the same
examples, a probe) is the same question to all of them. With one the advice runs as usual, and no
batch is cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from batchlab.advice.question import Option
from batchlab.commands.advice_request import AdviceRequest
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason
from batchlab.records.study import WorkloadSummary

_LOSS = "loss"


def why_not_comparable(summary: WorkloadSummary, metric: str) -> Reason | None:
    """Why batch sizes cannot be compared by `metric`; None: they can."""
    if metric == _LOSS and summary.loss_couples:
        return Reason.of("losses_not_comparable")
    return None


def in_whole_batches(summary: WorkloadSummary, asked: AdviceRequest) -> AdviceRequest:
    """The request that plans no micro-batches where they would train on another loss."""
    if not summary.loss_couples:
        return asked
    return replace(asked, to_profile=replace(asked.to_profile, may_accumulate=False))


def of_the_reference_alone(asked: AdviceRequest) -> AdviceRequest:
    """The request that profiles the workload's own batch size and spends nothing on others."""
    own = (asked.trial.batch_size,)
    return replace(asked, to_profile=replace(asked.to_profile, batch_sizes=own))


def without_pieces(summary: WorkloadSummary, options: Iterable[Option]) -> tuple[Option, ...]:
    """The options; those that were profiled in pieces, elsewhere, with a note against them."""
    return tuple(
        _noted(option, Reason.of("pieces_train_on_another_loss", size=option.micro_batch_size))
        if option.runs and summary.loss_couples and option.micro_batch_size < option.batch_size
        else option
        for option in options
    )


def all_but(batch_size: int, options: Iterable[Option], why: Reason) -> tuple[Option, ...]:
    """The options with a note against each but `batch_size`."""
    return tuple(
        option if option.batch_size == batch_size else _noted(option, why) for option in options
    )


def _noted(option: Option, why: Reason) -> Option:
    return replace(option, note=why, step_s=Estimate.cannot_tell(why))
