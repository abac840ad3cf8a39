"""KernelFiles: where the kernel says what memory there is and what processes hold of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
