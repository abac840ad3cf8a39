"""Memory of this process: its peak, its limit, its heap, and what the kernel killed."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelFiles:
    """The files of Linux that memory is read from; a system that lacks one reports nothing there.

    Attributes:
        status: of this process: what it holds, and its peak.
        clear_refs: written to, it makes the peak begin again.
        vmstat: counts the processes killed for memory.
        meminfo: what the machine has left.
        groups: of the control group: the limit and what is used of it, for version 2 and 1.
    """

    status: Path = Path("/proc/self/status")
    clear_refs: Path = Path("/proc/self/clear_refs")
    vmstat: Path = Path("/proc/vmstat")
    meminfo: Path = Path("/proc/meminfo")
    groups: tuple[tuple[Path, Path], ...] = (
        (_GROUP / "memory.max", _GROUP / "memory.current"),
        (_GROUP / "memory" / "memory.limit_in_bytes", _GROUP / "memory" / "memory.usage_in_bytes"),
    )


LINUX = KernelFiles()


try:
    import resource
except ImportError:  # there is none outside Unix
    resource = None  # type: ignore[assignment]


class PeakMemory:
    """The high-water mark of this process's memory above what it held at construction.

    On the CPU it is the kernel's own mark of resident memory, reset at construction (Linux); pages
    shared with other processes count as soon as they are touched. On CUDA it is the largest amount
    the allocator reserved, plus what of the device is taken beside it: by the driver for this
    process, and by whatever else runs there.
    """

    def __init__(self, device: torch.device, *, kernel: KernelFiles = LINUX) -> None:
        """Reset the marks."""
        self._device = device
        self._kernel = kernel
        self._baseline_bytes = _reset_high_water_mark(kernel)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def bytes(self) -> int | None:
        """Bytes above the baseline so far; None where this system does not report it."""
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self._device)
            beside = total - free - torch.cuda.memory_reserved(self._device)
            return int(torch.cuda.max_memory_reserved(self._device)) + max(0, beside)
        mark = _from_status("VmHWM", self._kernel)
        if mark is None or self._baseline_bytes is None:
            return None
        return mark - self._baseline_bytes


def _reset_high_water_mark(kernel: KernelFiles) -> int | None:
    try:
        kernel.clear_refs.write_text("5")  # since Linux 4.0: VmHWM begins again at the present size
    except OSError:
        return None
    return _from_status("VmRSS", kernel)


def _from_status(field: str, kernel: KernelFiles) -> int | None:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", kernel.status.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def available_bytes(device: torch.device, *, kernel: KernelFiles = LINUX) -> int | None:
    """What memory a new process can get: free, or held by caches that give way; None: not known.

    On the CPU that of the machine or of its control group, whichever is less; on CUDA all of the
    device, for what is taken of it counts in a peak.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    known = [
        value
        for value in (_machine_available(kernel), *_group_available(kernel))
        if value is not None
    ]
    return min(known, default=None)


def limit_memory(device: torch.device, limit_bytes: int, *, kernel: KernelFiles = LINUX) -> None:
    """From now on this process gets no more than about `limit_bytes` above what it holds.

    A wall against running away, not a measure: on the CPU the kernel counts what is asked for,
    touched or not. Beyond it, asking for memory is an error of this process, where it would
    otherwise make the kernel kill some process, perhaps another one.

    Args:
        device: whose memory.
        limit_bytes: above what is held now.
        kernel: where the system reports what is held; nothing is limited where it does not.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        room = max(0, limit_bytes - (total - free))
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.set_per_process_memory_fraction(min(1.0, room / total), index)
        return
    held_bytes = _from_status("VmData", kernel)
    if resource is None or held_bytes is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held_bytes + limit_bytes
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _machine_available(kernel: KernelFiles) -> int | None:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", kernel.meminfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _group_available(kernel: KernelFiles) -> Iterator[int]:
    """What the control group of this process leaves, where it has one with a limit."""
    for limit, used in kernel.groups:
        try:
            text = limit.read_text().strip()
            if text != "max":
                # Caches count as used until something needs their memory.
                cached = re.search(
                    r"^inactive_file (\d+)$", (limit.parent / "memory.stat").read_text(), re.M
                )
                given_back = int(cached[1]) if cached else 0
                yield max(0, int(text) - int(used.read_text()) + given_back)
        except (OSError, ValueError):
            continue


def kills_for_memory(*, kernel: KernelFiles = LINUX) -> int | None:
    """How many processes this kernel has killed for memory since it started; None: not reported.

    A child that ended by signal 9 while this number rose was killed by the kernel for memory; one
    that did so while it stood still was killed by somebody.
    """
    try:
        found = re.search(r"^oom_kill (\d+)$", kernel.vmstat.read_text(), re.MULTILINE)
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
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True  # a file or the data could not be mapped
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
