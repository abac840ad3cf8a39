"""Step time: how long one optimizer step takes with nothing else running."""

from __future__ import annotations

import os
import time

import torch

from batchlab.measurements.memory import PeakMemory
from batchlab.timing import StepTiming
from batchlab.training.children import Line
from batchlab.training.parcel import Parcel
from batchlab.training.stepper import Stepper
from batchlab.trial import Trial

# About a second a batch size: a fifth of it chooses the threads, the rest is timed in blocks.
_CHOOSE_S = 0.1
_CHOOSE_ROUNDS = 2
# More threads must pay: they are chosen if they are this much faster, for they also suffer most
# from whatever else runs on the machine later.
_THREADS_MUST_GAIN = 1.1
_TIMED_S = 0.8
_BLOCKS = 8
_FEWEST_BLOCKS = 3


def thread_choices(device: str) -> tuple[int, ...]:
    """The numbers of threads worth a try: one, and all cores. One on a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (1,) if device.startswith("cuda") or cores in (None, 1) else (1, int(cores or 1))


def measure_step_time(line: Line, parcel: Parcel, trial: Trial, device: str) -> StepTiming:
    """Time the steps of `trial` in this process, which should have the machine to itself.

    Every number of threads of `thread_choices` is tried for a tenth of a second, the fastest is
    timed in blocks of steps. Fetching and copying of batches count.

    Args:
        line: the connection to the parent; asked whether to stop.
        parcel: the workload.
        trial: gives the batch size and how it is cut; nothing is stored under its name.
        device: the PyTorch device.

    Returns:
        The blocks' times, with warm-up blocks apart.
    """
    workload = parcel.unpack()
    memory = PeakMemory(torch.device(device))
    stepper = Stepper(workload, trial, torch.device(device))
    timer = _Timer(stepper)
    # The first steps at a new shape pick kernels and fill the allocator: they are kept apart.
    warmup_s = [timer.block(1)]
    rates: dict[int, float] = {}
    for threads in thread_choices(device) * _CHOOSE_ROUNDS:
        torch.set_num_threads(threads)
        warmup_s.append(timer.block(1))
        seen_s = timer.step_s_within(_CHOOSE_S / _CHOOSE_ROUNDS)
        rates[threads] = min(seen_s, rates.get(threads, seen_s))
    best = _fewest_threads_as_good(rates)
    torch.set_num_threads(best)
    block_steps = max(1, round(_TIMED_S / _BLOCKS / rates[best]))
    warmup_s.append(timer.block(block_steps))
    block_s: list[float] = []
    while len(block_s) < _FEWEST_BLOCKS or (sum(block_s) < _TIMED_S and len(block_s) < 4 * _BLOCKS):
        if line.asked_to_stop():
            break
        block_s.append(timer.block(block_steps))
    return StepTiming(
        workload_id=trial.workload_id,
        batch_size=trial.batch_size,
        micro_batch_size=trial.micro_batch_size,
        device=trial.device,
        threads=best,
        warmup_s=tuple(warmup_s),
        block_s=tuple(block_s),
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

    def step_s_within(self, seconds: float) -> float:
        """Seconds a step, from the fastest of the blocks that fit into `seconds` (one at least)."""
        n_steps, best = 1, float("inf")
        ends_s = time.perf_counter() + seconds
        while True:
            best = min(best, self.block(n_steps) / n_steps)
            if time.perf_counter() >= ends_s:
                return best
            n_steps = max(1, min(2 * n_steps, round(seconds / 4 / best)))
