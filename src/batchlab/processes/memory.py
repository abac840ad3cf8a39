"""Memory of this process: its peak, its limit, its heap, and what the kernel killed."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import torch

# Where the system's files lie: those of Linux, below the root. A system that lacks one reports
# nothing there.
ROOT = Path("/")
_STATUS = "proc/self/status"  # what this process holds, and its peak
# Limit, use and caches of the control group, for version 2 and 1.
_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


class PeakMemory:
    """The high-water mark of this process's memory above what it held at construction.

    On the CPU it is the kernel's own mark of resident memory, reset at construction (Linux); pages
    shared with other processes count as soon as they are touched. On CUDA it is the largest amount
    the allocator reserved, plus what of the device is taken beside it: by the driver for this
    process, and by whatever else runs there.
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
            free, total = torch.cuda.mem_get_info(self._device)
            beside = total - free - torch.cuda.memory_reserved(self._device)
            return int(torch.cuda.max_memory_reserved(self._device)) + max(0, beside)
        mark = _bytes_in(_STATUS, "VmHWM")
        if mark is None or self._baseline_bytes is None:
            return None
        return mark - self._baseline_bytes


def _reset_high_water_mark() -> int | None:
    try:
        # Since Linux 4.0: VmHWM begins again at the present size.
        (ROOT / "proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _bytes_in(_STATUS, "VmRSS")


def _bytes_in(file: str, field: str) -> int | None:
    kibibytes = _found(ROOT / file, rf"^{field}:\s+(\d+) kB")
    return None if kibibytes is None else kibibytes * 1024


def _found(file: Path, pattern: str) -> int | None:
    """The number that a pattern finds in a file; None: there is none, or no such file."""
    try:
        match = re.search(pattern, file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) if match else None


def available_bytes(device: torch.device) -> int | None:
    """What memory a new process can get: free, or held by caches that give way; None: not known.

    On the CPU that of the machine or of its control group, whichever is less; on CUDA all of the
    device, for what is taken of it counts in a peak.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    known = (_bytes_in("proc/meminfo", "MemAvailable"), *_group_available())
    return min((value for value in known if value is not None), default=None)


def limit_memory(device: torch.device, limit_bytes: int) -> None:
    """From now on this process gets no more than about `limit_bytes` above what it holds.

    A wall against running away, not a measure: on the CPU the kernel counts what is asked for,
    touched or not. Beyond it, asking for memory is an error of this process, where it would
    otherwise make the kernel kill some process, perhaps another one. Where the system does not
    report what is held, nothing is limited.
    """
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
    """What the control group of this process leaves, where it has one with a limit."""
    for folder, limit, used in _GROUPS:
        group = ROOT / folder
        try:
            text = (group / limit).read_text().strip()
            if text != "max":
                # Caches count as used until something needs their memory.
                given_back = _found(group / "memory.stat", r"^inactive_file (\d+)$") or 0
                yield max(0, int(text) - int((group / used).read_text()) + given_back)
        except (OSError, ValueError):
            continue


def kills_for_memory() -> int | None:
    """How many processes this kernel has killed for memory since it started; None: not reported.

    A child that ended by signal 9 while this number rose was killed by the kernel for memory; one
    that did so while it stood still was killed by somebody.
    """
    return _found(ROOT / "proc/vmstat", r"^oom_kill (\d+)$")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the CPU or on a device.

    Told by its type where there is one. PyTorch's CPU allocator raises a bare `RuntimeError`, so
    there its own signature in the text is looked for.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True  # a file or the data could not be mapped
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
