"""Measure whether fetching the training examples limits the speed of a training."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, repeat

import torch

from batchlab.machine import thread_choices
from batchlab.records.trial import Trial
from batchlab.training.batching import columns_in_memory
from batchlab.training.stepper import Stepper
from batchlab.words.catalogue import listing
from batchlab.words.numbers import english_number
from batchlab.workload.data import is_stream
from batchlab.workload.definition import Batch, Workload

# Each measurement takes at least `_TIMED_S` and 4 batches per worker, but at most `_MOST_S`.
_TIMED_S, _MOST_S = 0.3, 3.0
# Without workers, fetching and steps take turns, so a larger batch may still make the steps faster.
# Fetching limits the speed only if it takes this many times as long as a step.
_FAR_LONGER = 4.0
_SLOW_BATCH_S = 1.0  # If fetching one batch takes longer, no further batch is fetched.
# Another number of workers is named only if training with it is this many times as fast.
_WORTH_NAMING = 1.1


def loader_limit(workload: Workload, trial: Trial, device: torch.device) -> str | None:
    """Return a warning if examples are fetched far more slowly than the model can train on them.

    The warning says how fast training is with more workers: with as many as would be needed, at
    most one per core, and with one per core. Return None if fetching does not limit the speed, or
    if the examples are tensors in memory. The speeds are those at the trial's batch size.
    """
    data, size, workers = workload.train, trial.batch_size, workload.workers
    if not is_stream(data) and columns_in_memory(data, workload.collate) is not None:
        return None
    stepper = Stepper(workload, trial, device)
    stream = stepper.stream(0)
    started_s = time.perf_counter()
    batch = next(stream)
    first_s = time.perf_counter() - started_s
    step_s = _seconds(_training(stepper, repeat(batch)), workers=0)
    fetch_s, is_slow = first_s / max(1, workers), first_s > _SLOW_BATCH_S
    if not is_slow:
        fetch_s = _seconds(lambda n: deque(islice(stream, n), maxlen=0), workers=workers)
    if fetch_s <= step_s * (1.0 if workers else _FAR_LONGER):
        return None
    warning = (
        f"the loader limits the speed, so a larger batch would hardly be faster: with "
        f"workers={workers} it delivers {_speed(size, fetch_s)} examples per second, and the model "
        f"could train on {_speed(size, step_s)}"
    )
    cores = max(thread_choices("cpu"))
    needed = math.ceil(max(1, workers) * fetch_s / step_s)
    more = sorted({n for n in (min(needed, cores), cores) if n > workers})
    if not more or is_slow or is_stream(data):
        return f"{warning}; make fetching an example faster"
    now_s = _seconds(_training(stepper, stream), workers=workers)
    trained_s = {}
    for n in more:
        faster = Stepper(replace(workload, workers=n), trial, device)
        trained_s[n] = _seconds(_training(faster, faster.stream(0)), workers=n)
    best = min(trained_s, key=trained_s.__getitem__)
    if now_s < _WORTH_NAMING * trained_s[best]:
        return f"{warning}; with workers={listing(list(map(str, more)))}, training was not faster"
    return (
        f"{warning}; with workers={best}, training ran at {_speed(size, trained_s[best])} "
        f"examples per second instead of {_speed(size, now_s)}"
    )


def _speed(batch_size: int, batch_s: float) -> str:
    return english_number(batch_size / batch_s, "samples_to_target")  # three digits, no unit


def _training(stepper: Stepper, stream: Iterator[Sequence[Batch]]) -> Callable[[int], object]:
    """Return a function that takes a number of training steps on batches of `stream`."""
    return lambda n_steps: stepper.steps(stream, n_steps, first_step=0)  # waits for the device


def _seconds(take: Callable[[int], object], *, workers: int) -> float:
    """Return the seconds per batch of `take(n)`, which fetches or trains on `n` batches."""
    n = max(1, workers)
    take(2 * n)  # Workers start, and fetch up to two batches each ahead of the training.
    n_taken, taken_s = 0, 0.0
    while taken_s < _MOST_S and (taken_s < _TIMED_S or n_taken < 4 * n):
        started_s = time.perf_counter()
        take(n)
        taken_s += time.perf_counter() - started_s
        n_taken += n
    return taken_s / n_taken
