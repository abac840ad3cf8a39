"""Check: `batchlab.check`, is a workload's gradient the same under accumulation?"""

from __future__ import annotations

from collections.abc import Mapping

from batchlab.app.argument_names import known_arguments_only
from batchlab.app.budget import Budget
from batchlab.app.subject import value_of
from batchlab.errors import BudgetError
from batchlab.measure.loss_check import check_accumulation
from batchlab.plans.sweep_request import check_device
from batchlab.processes.children import run_in_child
from batchlab.processes.packed_workload import LoadedAgain, PackedWorkload
from batchlab.random_state import untouched_randomness
from batchlab.records.study import Accumulation
from batchlab.records.trial import Setting, Status
from batchlab.workload.definition import Workload, check_has_loss
from batchlab.workload.loading import loaded_workload


@known_arguments_only
def check(
    workload: Workload | str = "mnist-mlp",
    *,
    settings: Mapping[str, Setting] | None = None,
    device: str = "cpu",
    budget: str | float = "60s",
    reserved_s: float = 0.0,
) -> Accumulation:
    """Compare the gradient of a batch with that of its micro-batches, and name what differs.

    Six training examples are enough: their gradient is taken in one piece, in two unequal pieces
    and one by one, in float64 where the model takes it. It runs in a process of its own, at weights
    near the initial ones.

    Args:
        workload: a Workload, a built-in name, or `path/file.py:name`.
        settings: of the workload or its optimizer.
        device: "cpu", "cuda" or "cuda:1".
        budget: a ceiling on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds.
        reserved_s: the part of the budget that the caller needs for what it does around the call.

    Returns:
        Whether they are the same, with every cause that was found and its place.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        WorkloadError: the workload cannot be loaded or does not take its own examples.
        BudgetError: the budget is too small.
    """
    ceiling = Budget(budget, reserved_s=reserved_s)
    check_device(device)
    with untouched_randomness():
        loaded = loaded_workload(workload, settings or {})
        check_has_loss(loaded.workload, "the check of accumulation")
        reference = loaded.reference
        packed = PackedWorkload(loaded.workload, again=LoadedAgain.of(loaded), files=loaded.files)
        del loaded, workload
        ended = run_in_child(check_accumulation, packed, device, timeout_s=ceiling.time_limit_s())
    if ended.status is Status.TIMEOUT:
        raise BudgetError(
            f"budget {ceiling.seconds:.3g} s: it ended before the gradients were compared; give a "
            f"larger --budget"
        )
    return value_of(ended, Accumulation, f"workload {reference!r}")
