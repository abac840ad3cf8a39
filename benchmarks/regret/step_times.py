"""Seconds a step by batch size: as measured on a device, or made up."""

from __future__ import annotations

from pathlib import Path

from benchmarks.recorded.grid import RecordedGrid

from batchlab.measure.profile import Profile

# What is made up has this step time at the smallest batch size; regret does not depend on it.
FLAT_STEP_S = 0.001
PROFILES = ("cpu", "H200", "flat to 256", "flat to 1024", "flat to 8192")
# `batchlab profile benchmarks/regret/workloads.py:NAME --device cuda --batch-sizes ... --json`
MEASURED = Path(__file__).parents[1] / "profiles" / "h200"


def measured_profile(grid: RecordedGrid) -> Path:
    """Where the measured step times of the grid's workload are, if they were measured.

    A learning-rate shape does not change them.
    """
    return MEASURED / f"regret-{grid.header.workload.removesuffix('-cosine')}.json"


def step_times(grid: RecordedGrid, profile: str) -> dict[int, float]:
    """Seconds a step by batch size: as measured, or flat up to a batch size and linear after it.

    On the H200 those of the law through what was measured: one process lies off it by chance.
    """
    if profile == "cpu":
        return {size: grid.header.step_s[size] for size in grid.batch_sizes}
    if profile == "H200":
        law = Profile.from_json(measured_profile(grid).read_text()).step_time
        assert law is not None
        known = {size: law.step_s(size).estimate for size in grid.batch_sizes}
        return {size: step_s for size, step_s in known.items() if step_s is not None}
    knee = int(profile.removeprefix("flat to "))
    return {size: FLAT_STEP_S * max(1.0, size / knee) for size in grid.batch_sizes}
