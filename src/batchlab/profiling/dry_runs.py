"""DryRuns: how much memory each batch size would take, without running any of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from batchlab.measurements.dry_run import dry_run_bytes, find_buffers, record_steps
from batchlab.measurements.kernel_buffers import KernelBuffers
from batchlab.processes.children import run_in_child
from batchlab.processes.heap import heap_bytes
from batchlab.processes.memory import available_bytes
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.dry_run import DryRun
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.reason import Reason
from batchlab.records.trial import Trial


def dry_runs(
    packed: PackedWorkload,
    trials: Sequence[Trial],
    *,
    device: str,
    deadline_s: float,
    listener: ProgressListener,
) -> tuple[DryRun, ...]:
    """A dry run of each trial, in processes of its own.

    Args:
        packed: the workload.
        trials: one a batch size.
        device: the PyTorch device.
        deadline_s: the `time.monotonic()` at which it ends at the latest.
        listener: hears of the progress.

    Returns:
        One a trial, in their order, with the reason where there is no figure.
    """
    why_not = _why_not(device)
    if why_not is not None:
        return tuple(_failed(trial, why_not) for trial in trials)
    listener.phase("predicting memory by dry runs")
    buffers = _in_child(
        deadline_s, find_buffers, packed, trials[0], available_bytes(torch.device(device))
    )
    if isinstance(buffers, Reason):
        return tuple(_failed(trial, buffers) for trial in trials)
    made = []
    for index, trial in enumerate(trials):
        listener.progress(
            done_fraction=index / len(trials),
            left_s=max(0.0, deadline_s - time.monotonic()),
            text=f"batch size {trial.batch_size}, dry",
        )
        made.append(_dry_run(packed, trial, buffers, deadline_s))
    return tuple(made)


def _dry_run(
    packed: PackedWorkload, trial: Trial, buffers: KernelBuffers, deadline_s: float
) -> DryRun:
    steps = _in_child(deadline_s, record_steps, packed, trial, buffers)
    if isinstance(steps, Reason):
        return _failed(trial, steps)
    found = _in_child(deadline_s, dry_run_bytes, packed, trial, steps)
    if isinstance(found, Reason):
        return _failed(trial, found)
    return DryRun(batch_size=trial.batch_size, heap_bytes=found)


def _in_child(deadline_s: float, function: Callable[..., Any], *arguments: Any) -> Any | Reason:
    """What `function` returns in a child; or why it did not return."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        return Reason.of("out_of_time")
    ended = run_in_child(function, *arguments, timeout_s=left_s)
    return ended.value if ended.status is None else ended.reason


def _failed(trial: Trial, reason: Reason) -> DryRun:
    return DryRun(batch_size=trial.batch_size, reason=reason)


def _why_not(device: str) -> Reason | None:
    if not device.startswith("cpu"):
        return Reason.of("dry_run_needs_cpu", device=device)
    return Reason.of("heap_not_told") if heap_bytes() is None else None
