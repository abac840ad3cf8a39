"""What the tests of parcels run in child processes."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from batchlab.processes.children import Line
from batchlab.processes.packed_workload import PackedWorkload


def first_loss(line: Line, packed: PackedWorkload) -> float:
    workload = packed.unpack()
    torch.manual_seed(0)
    return float(workload.loss(workload.model(), workload.train).detach())


def own_bytes(line: Line, packed: PackedWorkload) -> tuple[float, int]:
    """The sum of the first column, so that every page is read; then this process's own memory.

    Its own is what is no mapping of shared memory.
    """
    total = float(packed.unpack().train[0][:, 0].sum(dtype=torch.float64))
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    assert found is not None
    return total, 1024 * int(found[1])
