"""The peak and the limit of a process's memory, free memory, and out-of-memory kills."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

# The root folder of Linux's system files. On a system without these files, functions that read them
# return None.
ROOT = Path("/")
_STATUS = "proc/self/status"  # This file contains the present and peak memory of this process.
# For cgroup v2 and v1: the folder of a control group, its limit file and its usage file.
_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


class PeakMemory:
    """The peak memory of this process since this object was made.

    On the CPU, this is the peak of resident memory that the Linux kernel records, minus the
    resident memory at construction. A page shared with other processes counts as soon as this
    process touches it. On CUDA, this is the peak of the memory that PyTorch's allocator reserved,
    plus all other memory in use on the device, including that of the driver and other processes.
    """

    def __init__(self, device: torch.device) -> None:
        """Reset the peaks that the kernel and CUDA record."""
        self._device = device
        self._baseline_bytes: int | None = None
        with suppress(OSError):
            # Since Linux 4.0, this resets VmHWM (the peak) to the present resident memory.
            (ROOT / "proc/self/clear_refs").write_text("5")
            self._baseline_bytes = _bytes_in(_STATUS, "VmRSS")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def bytes(self) -> int | None:
        """Return the peak memory in bytes, or None if the system does not report the peak."""
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self._device)
            others = total - free - torch.cuda.memory_reserved(self._device)
            return int(torch.cuda.max_memory_reserved(self._device)) + max(0, others)
        mark = _bytes_in(_STATUS, "VmHWM")
        if mark is None or self._baseline_bytes is None:
            return None
        return mark - self._baseline_bytes


def _bytes_in(file: str, field: str) -> int | None:
    kibibytes = _number_in(ROOT / file, rf"^{field}:\s+(\d+) kB")
    return None if kibibytes is None else kibibytes * 1024


def _number_in(file: Path, pattern: str) -> int | None:
    """Return the number that `pattern` matches in a file; None if there is no file or match."""
    try:
        match = re.search(pattern, file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) if match else None


def available_bytes(device: torch.device) -> int | None:
    """Return how many bytes a new process can allocate, or None if the number is not known.

    On the CPU, this is the free memory of the machine or of this process's control group, whichever
    is less; caches that the kernel can drop count as free. On CUDA, this is the device's whole
    memory, because `PeakMemory` includes the memory of other processes.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    available = list(_group_available())
    free_bytes = _bytes_in("proc/meminfo", "MemAvailable")
    if free_bytes is not None:
        available.append(free_bytes)
    return min(available, default=None)


def limit_memory(device: torch.device, limit_bytes: int | None) -> None:
    """Limit this process to about `limit_bytes` more than its present memory.

    The limit is not exact: on the CPU the kernel counts all allocated memory, touched or not. An
    allocation beyond the limit raises an error in this process; without a limit, the kernel would
    kill a process, perhaps not this one. If `limit_bytes` is None, or if the system does not report
    the present memory, do not set a limit.
    """
    if limit_bytes is None:
        return
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        room = max(0, limit_bytes - (total - free))
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.set_per_process_memory_fraction(min(1.0, room / total), index)
        return
    held_bytes = _bytes_in(_STATUS, "VmData")
    if held_bytes is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held_bytes + limit_bytes
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _group_available() -> Iterator[int]:
    """Yield the unused bytes of this process's control group, if the group has a limit."""
    for folder, limit, used in _GROUPS:
        group = ROOT / folder
        try:
            text = (group / limit).read_text().strip()
            if text != "max":
                # The used bytes include file caches, which the kernel frees on demand. So these
                # count as unused.
                given_back = _number_in(group / "memory.stat", r"^inactive_file (\d+)$") or 0
                yield max(0, int(text) - int((group / used).read_text()) + given_back)
        except (OSError, ValueError):
            continue


def kills_for_memory() -> int | None:
    """Return how many processes the kernel has killed since boot to free memory; None if unknown.

    If the number rose while a child ended by signal 9, the kernel killed the child to free memory.
    If the number did not change, a user or a program killed the child.
    """
    return _number_in(ROOT / "proc/vmstat", r"^oom_kill (\d+)$")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that memory ran out, on the CPU or on a device.

    Most out-of-memory errors have a specific type. PyTorch's CPU allocator raises a plain
    `RuntimeError`, which is recognized by the allocator's name in the error message.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True  # no memory is left to map a file or data
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
