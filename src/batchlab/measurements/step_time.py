"""Step time: how long one optimizer step takes with nothing else running."""

from __future__ import annotations

import math
import os
import statistics
import time

import torch

from batchlab.measurements.memory import PeakMemory
from batchlab.timing import StepTiming
from batchlab.training.children import Line
from batchlab.training.parcel import Parcel
from batchlab.training.stepper import Stepper
from batchlab.trial import Trial

# About a second a batch size, in blocks of steps; more where a single step takes long.
_TIMED_S = 1.0
_ROUNDS = 8
_FEWEST_ROUNDS = 3
# More threads must pay: they are chosen if they are this much faster, for they also suffer most
# from whatever else runs on the machine later.
_THREADS_MUST_GAIN = 1.1


def thread_choices(device: str) -> tuple[int, ...]:
    """The numbers of threads worth a try: one, and all cores. One on a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (1,) if device.startswith("cuda") or cores in (None, 1) else (1, int(cores or 1))


def measure_step_time(line: Line, parcel: Parcel, trial: Trial, device: str) -> StepTiming:
    """Time the steps of `trial` in this process, which should have the machine to itself.

    The numbers of threads of `thread_choices` take turns, block of steps by block; the one with the
    best median is reported. So a moment in which something else ran falls on all of them, and
    threads that wait for one another on a busy machine are not chosen. Fetching and copying of
    batches count.

    Args:
        line: the connection to the parent, unused.
        parcel: the workload.
        trial: gives the batch size and how it is cut; nothing is stored under its name.
        device: the PyTorch device.

    Returns:
        The blocks' times, with warm-up blocks apart.
    """
    workload = parcel.unpack()
    memory = PeakMemory(torch.device(device))
    timer = _Timer(Stepper(workload, trial, torch.device(device)))
    choices = thread_choices(device)
    # The first steps at a new shape pick kernels and fill the allocator: they are kept apart.
    warmup_s = []
    fastest_s = math.inf
    for threads in choices * 2:
        torch.set_num_threads(threads)
        warmup_s.append(timer.block(1))
        fastest_s = min(fastest_s, warmup_s[-1])
    block_steps = max(1, round(_TIMED_S / (_ROUNDS * len(choices)) / fastest_s))
    block_s: dict[int, list[float]] = {threads: [] for threads in choices}
    started_s = time.perf_counter()
    for done in range(_ROUNDS):
        if done >= _FEWEST_ROUNDS and time.perf_counter() - started_s > _TIMED_S:
            break
        for threads in choices:
            torch.set_num_threads(threads)
            block_s[threads].append(timer.block(block_steps))
    best = _fewest_threads_as_good(
        {threads: statistics.median(blocks) for threads, blocks in block_s.items()}
    )
    return StepTiming(
        workload_id=trial.workload_id,
        batch_size=trial.batch_size,
        micro_batch_size=trial.micro_batch_size,
        device=trial.device,
        threads=best,
        warmup_s=tuple(warmup_s),
        block_s=tuple(block_s[best]),
        block_steps=block_steps,
        peak_bytes=memory.bytes(),
    )


def _fewest_threads_as_good(step_s: dict[int, float]) -> int:
    best = min(step_s)
    for threads in sorted(step_s):
        if step_s[threads] * _THREADS_MUST_GAIN < step_s[best]:
            best = threads
    return best


class _Timer:
    """Times blocks of consecutive steps."""

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self._stream = stepper.stream(0)
        self._step = 0

    def block(self, n_steps: int) -> float:
        """Seconds of the next `n_steps` steps."""
        started_s = time.perf_counter()
        # Reading the losses waits for the device, so this times the work and not the queue.
        self._stepper.steps(self._stream, n_steps, first_step=self._step)
        self._step += n_steps
        return time.perf_counter() - started_s
