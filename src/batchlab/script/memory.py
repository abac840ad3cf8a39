"""The peak memory of a running command's processes: main memory and GPU memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Set as AbstractSet
from contextlib import suppress
from types import ModuleType
from typing import Any

import psutil

from batchlab.script.supervisor import descendants

_log = logging.getLogger(__name__)


class GpuMemory:
    """Measures the memory of a command's processes on each GPU, and keeps the peaks.

    NVML lists the processes on a GPU by their ids. In a container, the list may contain no process
    of the command. Then the rise of the GPU's used memory since the first measurement is recorded.
    """

    def __init__(self) -> None:
        """Prepare to measure with `pynvml`; measure nothing without `pynvml` or a GPU driver."""
        self._nvml = _library()
        self.most_bytes = [0] * (self._nvml.nvmlDeviceGetCount() if self._nvml else 0)
        self._first: dict[int, int] = {}
        self._is_named = False

    def look(self, pids: AbstractSet[int]) -> None:
        """Measure the GPU memory of the processes `pids` once, and update the peaks."""
        nvml: Any = self._nvml
        for index, most_bytes in enumerate(self.most_bytes):
            try:
                gpu = nvml.nvmlDeviceGetHandleByIndex(index)
                taken = int(nvml.nvmlDeviceGetMemoryInfo(gpu).used)
                users = nvml.nvmlDeviceGetComputeRunningProcesses(gpu)
            except Exception as error:  # an error of NVML, such as for a removed GPU
                _log.debug("GPU %d: %s", index, error)
                continue
            self._first.setdefault(index, taken)
            ours = [user.usedGpuMemory for user in users if user.pid in pids]
            n_bytes = 0
            if ours and None not in ours:
                self._is_named = True
                n_bytes = sum(ours)
            elif not self._is_named:
                n_bytes = max(0, taken - self._first[index])
            self.most_bytes[index] = max(most_bytes, n_bytes)


def _library() -> ModuleType | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None  # There is no driver.
    return pynvml  # type: ignore[no-any-return]


INTERVAL_S = 0.2  # the shortest time between two measurements
COST_FRACTION = 0.002
"""The share of one CPU core that measuring may use; to use no more, measure less often."""


class MemoryWatch:
    """A thread that measures memory five times a second, or less often to save CPU time."""

    def __init__(self, supervisor: int) -> None:
        """Start to measure the main and GPU memory of the descendants of process `supervisor`."""
        self._supervisor = supervisor
        self._gpus: GpuMemory | None = None
        self._most_bytes = 0
        self._n_looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="memory watch")
        self._thread.start()

    def stop(self, largest_process_bytes: int = 0) -> int | None:
        """Stop measuring; return the peak bytes of main memory, or None if nothing was measured.

        A page that several processes share counts once on Linux, elsewhere once for each process.
        The result is at least `largest_process_bytes`, the kernel's peak of a single process.
        """
        self._stop.set()
        self._thread.join()
        return max(largest_process_bytes, self._most_bytes) or None

    @property
    def gpu_peak_bytes(self) -> int | None:
        """The peak bytes on the most used GPU; None if no GPU was used or the peak is unknown."""
        if self._gpus is None:
            return None
        return max(self._gpus.most_bytes, default=0) or None

    def _run(self) -> None:
        gpus = self._gpus = GpuMemory()  # created in this thread, because a driver is slow to start
        rest_s = 0.0
        while not self._stop.wait(rest_s):
            began_s = time.thread_time()
            pids = _below(self._supervisor)
            self._most_bytes = max(
                self._most_bytes, sum(_held_bytes(pid, is_one=len(pids) == 1) for pid in pids)
            )
            gpus.look(set(pids))
            self._n_looks += 1
            rest_s = max(INTERVAL_S, (time.thread_time() - began_s) / COST_FRACTION)


def _below(root: int) -> tuple[int, ...]:
    if psutil.LINUX:
        return tuple(descendants(root))
    with suppress(psutil.Error):
        return tuple(child.pid for child in psutil.Process(root).children(recursive=True))
    return ()


def _held_bytes(pid: int, *, is_one: bool) -> int:
    """Return the memory of a process, in bytes.

    If the command has several processes (`is_one` is False), memory that they share is divided
    between them.
    """
    try:
        process = psutil.Process(pid)
        if is_one or not psutil.LINUX:
            return int(process.memory_info().rss)
        return int(process.memory_full_info().pss)  # This takes 30 ms per gigabyte.
    except (psutil.Error, OSError):  # The process has ended.
        return 0
