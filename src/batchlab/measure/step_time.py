"""Measure how many seconds an optimizer step takes, on a machine that runs nothing else."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from batchlab.machine import place_here, thread_choices
from batchlab.measure.blocks import TIMED_S
from batchlab.processes.children import Line
from batchlab.processes.memory import PeakMemory, available_bytes, limit_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.study import StepTiming
from batchlab.records.trial import Trial
from batchlab.training.batching import with_tensors
from batchlab.training.stepper import Stepper
from batchlab.workload.data import resident
from batchlab.workload.definition import Batch, Workload

_ROUNDS = 17  # each number of threads is timed in at most this many blocks of steps
_FEWEST_ROUNDS = 3
# The clock speed and the allocator need time to become steady, so the first two blocks count as
# warm-up if at least ten blocks were timed.
_SETTLING_ROUNDS = 2
_SETTLED_OF = 10
# More threads are chosen only if they are 1.1 times as fast as fewer threads, because other work on
# the machine slows down many threads the most.
_THREADS_MUST_GAIN = 1.1
# A number of threads that is three times as slow as the best is not timed any further.
_HOPELESS = 3.0
# If a step takes longer than the requested time, stop after this multiple of that time.
_MOST_TIMES_LONGER = 4.0
_PAGE_BYTES = 4096


def measure_step_time(
    line: Line,
    packed: PackedWorkload,
    trial: Trial,
    device: str,
    timed_s: float = TIMED_S,
    wall_bytes: int | None = None,
) -> StepTiming:
    """Time the steps of `trial` in this process, while nothing else should run on the machine.

    Several numbers of threads take turns, block by block, so that a short disturbance affects all
    of them equally. The result is for the number of threads with the best median, and includes the
    time to fetch and copy batches.

    Timing takes about `timed_s` seconds after the warm-up. The process may allocate `wall_bytes`
    more bytes than at present.
    """
    on = torch.device(device)
    limit_memory(on, wall_bytes)
    workload = packed.unpack()
    memory = PeakMemory(on)
    _touch(workload)
    timer = _Timer(Stepper(workload, trial, on))
    timing = _timed(timer, trial, timed_s, thread_choices(device))
    return replace(timing, peak_bytes=memory.bytes(), place=place_here(device))


def _timed(
    timer: _Timer, trial: Trial, timed_s: float, threads_to_try: tuple[int, ...]
) -> StepTiming:
    """Time blocks of steps with each number of threads; return the times of the best number."""
    # Start with the most threads, because the first step is slow, and slower with few threads.
    # The first steps also select kernels and fill the allocator, so store them as warm-up.
    least_s = {threads: timer.block(1, threads) for threads in threads_to_try[::-1]}
    warmup_s = list(least_s.values())
    share_s = timed_s / (_ROUNDS * len(least_s))
    if sum(warmup_s) <= timed_s:
        least_s = {threads: _look(timer, threads, share_s) for threads in least_s}
    choices, fastest_s = _within(_HOPELESS, least_s), min(least_s.values())
    block_steps = max(1, round(share_s / fastest_s))
    block_s: dict[int, list[float]] = defaultdict(list)
    started_s = time.perf_counter()
    for n_rounds in range(_ROUNDS):
        elapsed_s = time.perf_counter() - started_s
        is_slow = fastest_s > timed_s and elapsed_s > _MOST_TIMES_LONGER * timed_s
        if is_slow or (n_rounds >= _FEWEST_ROUNDS and elapsed_s > timed_s):
            break
        for threads in choices:
            block_s[threads].append(timer.block(block_steps, threads))
        # Stop timing numbers of threads that are far slower than the fastest. Otherwise their
        # blocks would use up most of `timed_s` on a busy machine.
        choices = _within(_HOPELESS, {threads: min(block_s[threads]) for threads in choices})
    if max(map(len, block_s.values())) >= _SETTLED_OF:
        for blocks in block_s.values():
            warmup_s += blocks[:_SETTLING_ROUNDS]
            del blocks[:_SETTLING_ROUNDS]
    medians = {threads: statistics.median(blocks) for threads, blocks in block_s.items() if blocks}
    best = min(_within(_THREADS_MUST_GAIN, medians))
    return StepTiming(
        workload_id=trial.workload_id,
        batch_size=trial.batch_size,
        micro_batch_size=trial.micro_batch_size,
        device=trial.device,
        threads=best,
        warmup_s=tuple(warmup_s),
        block_s=tuple(block_s[best]),
        block_steps=block_steps,
        peak_bytes=None,
    )


# Two sizes take turns for 0.4 s, in blocks of 15 ms, so that both run at the same machine speed.
_IN_TURN_S, _TURN_S = 0.4, 0.015
Shape = tuple[int, int, int]  # batch size, micro-batch size and number of threads


def measure_in_turn(
    line: Line, packed: PackedWorkload, trial: Trial, shapes: Sequence[Shape], device: str
) -> tuple[float, ...]:
    """Return the ratio of the second shape's step time to the first shape's in each round.

    The two shapes take turns in this process, so that other work on the machine affects both.
    """
    on = torch.device(device)
    limit_memory(on, available_bytes(on))
    workload = packed.unpack()
    timers = []
    for size, micro, _ in shapes:
        sized = replace(trial, batch_size=size, micro_batch_size=micro)
        timers.append(_Timer(Stepper(workload, sized, on)))

    def turn(n_steps: Sequence[int]) -> list[float]:
        step_s = []
        for timer, n, (_, _, threads) in zip(timers, n_steps, shapes, strict=True):
            step_s.append(timer.block(n, threads) / n)
        return step_s

    first = [turn((1, 1)) for _ in range(_FEWEST_ROUNDS)]
    n_steps = [max(1, round(_TURN_S / min(step_s))) for step_s in zip(*first, strict=True)]
    until_s, ratios = time.perf_counter() + _IN_TURN_S, list[float]()
    while len(ratios) < _FEWEST_ROUNDS or time.perf_counter() < until_s:
        one_s, other_s = turn(n_steps)
        ratios.append(other_s / one_s)
    return tuple(ratios)


def measure_compiled(
    line: Line, packed: PackedWorkload, trial: Trial, shapes: Sequence[Shape], device: str
) -> tuple[StepTiming, ...]:
    """Time steps of the compiled model, one shape after the other.

    The batch dimension is dynamic, so that one compilation serves many batch sizes. The first
    warm-up time includes compilation. Memory is not measured, as the compiler uses memory too.
    """
    on = torch.device(device)
    limit_memory(on, available_bytes(on))
    torch.compiler.set_stance("default")
    workload, timings = packed.unpack(), list[StepTiming]()
    for size, micro, threads in shapes:
        shaped = replace(trial, batch_size=size, micro_batch_size=micro)
        stepper = Stepper(workload, shaped, on, is_compiled=True)
        timer = _Timer(stepper, stream=_of_any_size(stepper.stream(0)))
        compile_s = timer.block(1, threads)  # a changed number of threads also causes compilation
        timing = _timed(timer, shaped, TIMED_S, (threads,))
        warmup_s = compile_s, *timing.warmup_s
        timings.append(replace(timing, warmup_s=warmup_s, place=place_here(device)))
    return tuple(timings)


def _of_any_size(stream: Iterator[Sequence[Batch]]) -> Iterator[Sequence[Batch]]:
    """Yield the batches, with the tensors' first dimension marked as dynamic for the compiler."""

    def marked(tensor: Tensor) -> Tensor:
        if tensor.dim():
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return tensor

    for micro_batches in stream:
        yield [with_tensors(batch, marked) for batch in micro_batches]


def _touch(workload: Workload) -> None:
    """Read every memory page of the training tensors, so that the peak memory includes all of them.

    Otherwise the peak would include only the examples of the timed steps, and would seem to grow
    faster with the batch size than it does in a training.
    """
    columns = resident(workload.train)
    if columns is None:
        return
    for column in columns.parts:
        if column.device.type == "cpu" and column.is_contiguous() and column.numel():
            column.reshape(-1).view(torch.uint8)[::_PAGE_BYTES].sum()


def _look(timer: _Timer, threads: int, most_s: float) -> float:
    """Return the least seconds per step over blocks of 1, 2, 4, ... steps with `threads` threads.

    Blocks start short: on a busy machine, threads may wait for one another a thousand times as long
    as a single thread computes, so that a whole block would take many seconds.
    """
    n_steps, least_s, took_s = 1, math.inf, 0.0
    while 2 * took_s < most_s:
        took_s = timer.block(n_steps, threads)
        least_s = min(least_s, took_s / n_steps)
        n_steps *= 2
    return least_s


def _within(factor: float, step_s: dict[int, float]) -> list[int]:
    """Return the numbers of threads whose steps take at most `factor` times the shortest time."""
    enough_s = factor * min(step_s.values())
    return [threads for threads, seconds in step_s.items() if seconds <= enough_s]


class _Timer:
    """A timer of blocks of consecutive training steps."""

    def __init__(
        self, stepper: Stepper, *, stream: Iterator[Sequence[Batch]] | None = None
    ) -> None:
        self._stepper = stepper
        self._stream = stream or stepper.stream(0)
        self._step = 0

    def block(self, n_steps: int, threads: int) -> float:
        """Return the seconds that the next `n_steps` steps take with this number of threads."""
        torch.set_num_threads(threads)
        started_s = time.perf_counter()
        # `steps` reads the losses, which waits for the GPU, so the time includes the GPU's work.
        self._stepper.steps(self._stream, n_steps, first_step=self._step)
        self._step += n_steps
        return time.perf_counter() - started_s
