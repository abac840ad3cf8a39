"""What the tests of parcels run in child processes."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from batchlab.processes.children import Line
from batchlab.processes.packed_workload import Parcel


def first_loss(line: Line, parcel: Parcel) -> float:
    workload = parcel.unpack()
    torch.manual_seed(0)
    return float(workload.loss(workload.model(), workload.train).detach())


def own_bytes(line: Line, parcel: Parcel) -> tuple[float, int]:
    """The sum of the first column, so that every page is read; then this process's own memory.

    Its own is what is no mapping of shared memory.
    """
    total = float(parcel.unpack().train[0][:, 0].sum(dtype=torch.float64))
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    assert found is not None
    return total, 1024 * int(found[1])
