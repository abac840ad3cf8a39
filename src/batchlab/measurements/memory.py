"""Peak memory of this process, and whether the kernel killed a process for memory."""

from __future__ import annotations

import re
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_VMSTAT = Path("/proc/vmstat")


class PeakMemory:
    """The high-water mark of this process's memory above what it held at construction.

    On the CPU it is the kernel's own mark of resident memory, reset at construction (Linux); pages
    shared with other processes count as soon as they are touched. On CUDA it is the largest amount
    the allocator reserved.
    """

    def __init__(self, device: torch.device) -> None:
        """Reset the marks."""
        self._device = device
        self._baseline_bytes = _reset_high_water_mark()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def bytes(self) -> int | None:
        """Bytes above the baseline so far; None where this system does not report it."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_reserved(self._device))
        mark = _from_status("VmHWM")
        if mark is None or self._baseline_bytes is None:
            return None
        return mark - self._baseline_bytes


def _reset_high_water_mark() -> int | None:
    try:
        _CLEAR_REFS.write_text("5")  # since Linux 4.0: VmHWM begins again at the present size
    except OSError:
        return None
    return _from_status("VmRSS")


def _from_status(field: str) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def kills_for_memory() -> int | None:
    """How many processes this kernel has killed for memory since it started; None: not reported.

    A child that ended by signal 9 while this number rose was killed by the kernel for memory; one
    that did so while it stood still was killed by somebody.
    """
    try:
        found = re.search(r"^oom_kill (\d+)$", _VMSTAT.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the CPU or on a device.

    Told by its type where there is one. PyTorch's CPU allocator raises a bare `RuntimeError`, so
    there its own signature in the text is looked for.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
