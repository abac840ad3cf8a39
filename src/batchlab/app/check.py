"""Check: `batchlab.check` tests that micro-batches give the gradient of the whole batch."""

from __future__ import annotations

from collections.abc import Mapping

from batchlab.app.question import Request, asked
from batchlab.app.subject import value_of
from batchlab.app.subjects import WorkloadSubject
from batchlab.measure.accumulation import check_accumulation
from batchlab.measure.finding import Accumulation
from batchlab.processes.children import run_in_child
from batchlab.random_state import untouched_randomness
from batchlab.records.trial import Setting, Status
from batchlab.workload.definition import Workload, check_has_loss


@untouched_randomness()
def check(
    workload: Workload | str = "mnist-mlp",
    *,
    settings: Mapping[str, Setting] | None = None,
    device: str = "cpu",
    budget: str | float = "60s",
) -> Accumulation:
    """Compare a batch's gradient with the gradient accumulated over its micro-batches.

    The gradient of eight training examples is computed as one batch, as two unequal micro-batches
    and one by one, in float64 if the model accepts float64. The check runs in a separate process,
    at weights near the initial weights.

    Args:
        workload: a Workload, a built-in name, or `path/file.py:name`.
        settings: settings of the workload or its optimizer.
        device: "cpu", "cuda" or "cuda:1".
        budget: a limit on the whole call's time, such as "90s", "5m" or "1h30m", or in seconds.

    Returns:
        `equal`, whether the gradients are the same apart from random draws, and `findings`, the
        causes found for differences, each with a place in the model or code.

    Raises:
        BatchlabError: a value is not possible, the workload cannot be trained, or the budget is too
            small; the message says what to do.
    """
    return checked(asked("check", **locals()))


def checked(question: Request) -> Accumulation:
    """Carry out a request for `check`, from Python or from the command line."""
    subject = WorkloadSubject(question)
    check_has_loss(subject.workload, "the check of accumulation")
    timeout_s = question.budget.time_limit_s()
    ended = run_in_child(check_accumulation, subject.packed, question.device, timeout_s=timeout_s)
    if ended.status is Status.TIMEOUT:
        raise question.budget.ended("before the gradients were compared")
    return value_of(ended, Accumulation, f"workload {subject.summary.reference!r}")
