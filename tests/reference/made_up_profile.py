"""Made-up profiles, and a made-up machine to search: times and peaks given by functions."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from msgspec import structs
from tests.reference.made_up import made_up_timing

from batchlab.measure.profile import Profile, ProfiledWorkload, ProfilePoint
from batchlab.records.estimate import Reason
from batchlab.records.study import WorkloadSummary
from batchlab.records.trial import Status, Trial

written = Reason.as_written

FIXED_BYTES, BYTES_PER_EXAMPLE = 50_000_000, 100_000
# A few per cent around the median, in an order without a trend.
SCATTER = (1.0, 1.02, 0.99, 1.01, 0.98, 1.03, 0.97, 1.0)


def step_s(batch_size: int) -> float:
    """1 ms and 10 µs an example: throughput grows to about 1000 examples."""
    return 1e-3 + 1e-5 * batch_size


def peak_bytes(micro_batch_size: int) -> int:
    return FIXED_BYTES + BYTES_PER_EXAMPLE * micro_batch_size


def made_up_point(
    batch_size: int,
    *,
    micro_batch_size=None,
    status=Status.OK,
    reason=None,
    scatter=SCATTER,
    median_s=None,
) -> ProfilePoint:
    """A point that ran as `step_s` and `peak_bytes` say, or one that did not."""
    micro = micro_batch_size or batch_size
    point = ProfilePoint(
        batch_size=batch_size,
        micro_batch_size=micro,
        status=status,
        reason=None if reason is None else written(reason),
    )
    if status is not Status.OK:
        return point
    n_pieces = -(-batch_size // micro)
    alone_s = n_pieces * step_s(micro) if median_s is None else median_s
    timing = replace(
        made_up_timing(batch_size, step_s=alone_s, workload_id="made-up"),
        micro_batch_size=micro,
        warmup_s=(2 * alone_s, alone_s),
        block_s=tuple(10 * alone_s * factor for factor in scatter),
        peak_bytes=peak_bytes(micro),
    )
    return replace(point, timing=timing, peak_bytes=timing.peak_bytes)


def made_up_profile(*points: ProfilePoint, memory_limit_bytes: int | None = None) -> Profile:
    """A profile of `points`; without any, of 1, 2, 4, ... 1024 and all 2000 examples."""
    sizes = (*(2**power for power in range(11)), 2000)
    return Profile(
        workload=ProfiledWorkload(
            workload_id="made-up", name="made-up", n_train=2000, batch_size=64
        ),
        device="cpu",
        device_name="a processor",
        memory_limit_bytes=memory_limit_bytes,
        environment=(("torch", "2.13.0"), ("processor", "a processor")),
        created_at="2026-01-01T00:00:00+00:00",
        points=points or tuple(made_up_point(size) for size in sizes),
    )


def untried_profile(n_train: int, *, batch_size=None, memory_limit_bytes=None) -> Profile:
    """A profile without points; `batch_size` is the one to begin with, None: the smallest."""
    made = made_up_profile(memory_limit_bytes=memory_limit_bytes)
    sizes = {"n_train": n_train, "batch_size": batch_size or 10 * n_train}
    return replace(made, workload=structs.replace(made.workload, **sizes), points=())


def told_profile(
    of: Trial | WorkloadSummary,
    step_s: Callable[[int], float],
    batch_sizes: Iterable[int],
    *,
    memory_limit_bytes=None,
) -> Profile:
    """A profile of what is asked about, as if every batch size had been measured."""
    name = of.workload if isinstance(of, Trial) else of.name
    points = []
    for size in sorted(batch_sizes):
        timing = made_up_timing(size, step_s=step_s(size), workload_id=of.workload_id)
        point = replace(made_up_point(size), timing=timing, peak_bytes=30_000_000 + 1000 * size)
        points.append(point)
    return replace(
        made_up_profile(*points, memory_limit_bytes=memory_limit_bytes),
        workload=ProfiledWorkload(
            workload_id=of.workload_id, name=name, n_train=of.n_train, batch_size=of.batch_size
        ),
        device_name="here",
        environment=(("cores", "2"),),
        points=tuple(points),
    )


class MadeUpMachine:
    """A `Probe` with a clock of its own: what fits, what it takes and what goes wrong is given."""

    def __init__(
        self, *, room_bytes=None, seconds=step_s, goes_wrong=lambda size: None, budget_s=1000.0
    ) -> None:
        self.probed: list[tuple[int, int]] = []
        self.clock_s = 0.0
        self.cut_off = 0  # probes that were begun and had not the time to end
        self._room_bytes = math.inf if room_bytes is None else room_bytes
        self._seconds = seconds
        self._goes_wrong = goes_wrong
        self._budget_s = budget_s

    def left_s(self) -> float:
        return self._budget_s - self.clock_s

    def __call__(self, batch_size: int, micro_batch_size: int, *, limit_s: float) -> ProfilePoint:
        self.probed.append((batch_size, micro_batch_size))
        n_pieces = -(-batch_size // micro_batch_size)
        alone_s = n_pieces * self._seconds(micro_batch_size)
        point = made_up_point(batch_size, micro_batch_size=micro_batch_size, median_s=alone_s)
        wrong = self._goes_wrong(batch_size)
        needed_s = 0.2 + max(0.15, 3 * alone_s) + 2 * alone_s
        self.cut_off += wrong is None and needed_s > limit_s
        if needed_s > limit_s:
            wrong = Status.TIMEOUT
        elif wrong is None and peak_bytes(micro_batch_size) > self._room_bytes:
            wrong = Status.OOM
        self.clock_s += limit_s if wrong is Status.TIMEOUT else needed_s
        if wrong is None:
            return point
        why = written("made up to fail")
        return replace(point, status=wrong, reason=why, timing=None, peak_bytes=None)
