"""Memory of this process: its peak, its limit, its heap, and the kernel's kills for memory."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

# The folder of the system files read here, which are those of Linux. A value whose file is missing
# is not reported.
ROOT = Path("/")
_STATUS = "proc/self/status"  # the memory that this process holds, and its peak
# Folder, limit and use of the control group, for versions 2 and 1.
_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


class PeakMemory:
    """The high-water mark of this process's memory above what it held at construction.

    On the CPU it is the kernel's own mark of resident memory, reset at construction (Linux); pages
    shared with other processes count as soon as they are touched. On CUDA it is the largest amount
    the allocator reserved, plus all other memory in use on the device: that of the driver for this
    process, and that of whatever else runs there.
    """

    def __init__(self, device: torch.device) -> None:
        """Reset the high-water marks."""
        self._device = device
        self._baseline_bytes: int | None = None
        with suppress(OSError):
            # Since Linux 4.0 this resets VmHWM to the present size.
            (ROOT / "proc/self/clear_refs").write_text("5")
            self._baseline_bytes = _bytes_in(_STATUS, "VmRSS")
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def bytes(self) -> int | None:
        """Return the peak in bytes above the baseline, or None if the system does not report it."""
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
    """Return the number that a pattern matches in a file, or None if either is missing."""
    try:
        match = re.search(pattern, file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) if match else None


def available_bytes(device: torch.device) -> int | None:
    """Return how many bytes a new process can get, or None if that is not known.

    On the CPU: the free memory, with droppable caches, of the machine or its control group,
    whichever is less. On CUDA: all memory of the device, because a peak includes memory in use.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    available = list(_group_available())
    free_bytes = _bytes_in("proc/meminfo", "MemAvailable")
    if free_bytes is not None:
        available.append(free_bytes)
    return min(available, default=None)


def limit_memory(device: torch.device, limit_bytes: int | None) -> None:
    """Limit this process to about `limit_bytes` above what it holds now.

    This stops runaway allocations but is not exact: on the CPU the kernel counts all memory
    that is asked for, touched or not. Beyond the limit an allocation is an error of this process;
    without it, the kernel would kill some process, perhaps another one. If the system does not
    report what is held, or `limit_bytes` is None, nothing is limited.
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
    """Yield the bytes that the control group of this process has left, if it has a limit."""
    for folder, limit, used in _GROUPS:
        group = ROOT / folder
        try:
            text = (group / limit).read_text().strip()
            if text != "max":
                # Caches count as used until something needs their memory.
                given_back = _number_in(group / "memory.stat", r"^inactive_file (\d+)$") or 0
                yield max(0, int(text) - int((group / used).read_text()) + given_back)
        except (OSError, ValueError):
            continue


def kills_for_memory() -> int | None:
    """Return how many processes this kernel has killed for memory, or None if not reported.

    It counts from the start of the kernel. A child that ended by signal 9 while this number rose
    was killed by the kernel for memory; if the number did not change, somebody killed the child.
    """
    return _number_in(ROOT / "proc/vmstat", r"^oom_kill (\d+)$")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that memory ran out, on the CPU or on a device.

    Most such errors have their own type. PyTorch's CPU allocator raises a bare `RuntimeError`,
    which is recognized by the allocator's name in the text.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True  # a file or the data could not be mapped
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
