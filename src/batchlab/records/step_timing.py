"""StepTiming: how long the steps of one batch size took, alone on the machine."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTiming:
    """The steps of one timed run, alone on its device.

    Attributes:
        workload_id: identity of the workload that was timed.
        batch_size: examples per step.
        micro_batch_size: examples per forward and backward pass.
        device: "cpu" or "cuda".
        threads: threads that PyTorch computed with.
        warmup_s: the first blocks, which do not count, kept: kernel selection shows up here.
        block_s: seconds of each timed block of steps, in the order they ran.
        block_steps: steps in each block.
        peak_bytes: peak memory of the run above an idle process, None: not reported.
    """

    workload_id: str
    batch_size: int
    micro_batch_size: int
    device: str
    threads: int
    warmup_s: tuple[float, ...]
    block_s: tuple[float, ...]
    block_steps: int
    peak_bytes: int | None

    @property
    def step_s(self) -> float:
        """Median seconds per step over the blocks."""
        return statistics.median(self.block_s) / self.block_steps

    @property
    def samples_per_s(self) -> float:
        """Examples per second at the median step time."""
        return self.batch_size / self.step_s

    @property
    def unsteadiness_fraction(self) -> float:
        """The blocks' interquartile range over their median: large on a busy machine."""
        ordered = sorted(self.block_s)
        quarter = len(ordered) // 4
        return (ordered[-1 - quarter] - ordered[quarter]) / statistics.median(ordered)
