"""The memory of a command's processes while it runs."""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from types import ModuleType
from typing import Any

import psutil

from batchlab.script.supervisor import descendants

FULL_FRACTION = 0.95
"""A GPU of which so much is taken is nearly full."""

_log = logging.getLogger(__name__)


class GpuMemory:
    """The most that a command's processes held on each GPU at any look.

    NVML names the processes of a GPU by their numbers. In a container it may name none of ours;
    then it is what is taken of the GPU beyond what was taken at first, whoever took it.
    """

    def __init__(self, nvml: ModuleType | None = None) -> None:
        """Get ready; without a library, `pynvml` is taken if it finds a driver."""
        self._nvml = _library() if nvml is None else nvml
        n_gpus = 0 if self._nvml is None else self._nvml.nvmlDeviceGetCount()
        self.most_bytes = [0] * n_gpus
        self.is_full = False
        self._first: dict[int, int] = {}
        self._is_named = False

    def look(self, pids: AbstractSet[int]) -> None:
        """Look once, at the command's processes."""
        nvml: Any = self._nvml
        for index, most_bytes in enumerate(self.most_bytes):
            try:
                gpu = nvml.nvmlDeviceGetHandleByIndex(index)
                memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
                users = nvml.nvmlDeviceGetComputeRunningProcesses(gpu)
            except Exception as error:  # NVML's own errors: a GPU that went away, no permission
                _log.debug("GPU %d: %s", index, error)
                continue
            taken, total = int(memory.used), int(memory.total)
            self._first.setdefault(index, taken)
            ours = [user.usedGpuMemory for user in users if user.pid in pids]
            if ours and None not in ours:
                self._is_named = True
                held = sum(ours)
            else:
                held = 0 if self._is_named else max(0, taken - self._first[index])
            self.most_bytes[index] = max(most_bytes, held)
            self.is_full |= held > 0 and taken >= FULL_FRACTION * total


def _library() -> ModuleType | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None  # no driver
    return pynvml  # type: ignore[no-any-return]


INTERVAL_S = 0.2
COST_FRACTION = 0.0005
"""Of one core, for each of four things: looking, finding processes, asking GPUs, and counting
shared pages once. Beyond it each waits."""
# To count shared pages once the kernel walks through the page tables: 30 ms a gigabyte.
_FIRST_PSS_S = 0.1
_FIRST_FINDS_S = 0.02
_SETTLED, _HIGHER = 1.02, 1.05
_LINUX = sys.platform == "linux"
_PAGE_BYTES = resource.getpagesize()
_SHARED_IS_TOLD = os.path.exists("/proc/self/smaps_rollup")  # Linux 4.14


class MemoryWatch:
    """Looks five times a second, more rarely where that would cost more, in a thread of its own."""

    def __init__(self, supervisor: int) -> None:
        """Begin to look at the processes below the supervisor, and at GPUs if NVML is there."""
        self._supervisor = supervisor
        self._pids: tuple[int, ...] = ()
        self._gpus: GpuMemory | None = None
        self._find_cost, self._pss_cost, self._gpu_cost = _Cost(), _Cost(), _Cost()
        self._alone_bytes = self._rss_bytes = self._pss_bytes = 0
        self._rss_at_pss = self._last_rss = 0
        self._pss_s = time.monotonic()
        self._n_looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="memory watch")
        self._thread.start()

    def stop(self, largest_process_bytes: int = 0) -> int | None:
        """Look no more; the most bytes of main memory, None where nothing was seen.

        Pages that several processes share count once where this system tells them apart, else once
        in each. The peak of the largest process is what the kernel has marked.
        """
        self._stop.set()
        self._thread.join()
        # Shared pages were counted once at the most that was seen, or not at all there.
        is_shared_once = self._rss_bytes <= _HIGHER * self._rss_at_pss
        several = self._pss_bytes if is_shared_once else self._rss_bytes
        return max(largest_process_bytes, self._alone_bytes, several) or None

    @property
    def gpu_peak_bytes(self) -> int | None:
        """The most on any one GPU; None: none was used, or it is not known."""
        return max(self._gpus.most_bytes, default=0) or None if self._gpus else None

    @property
    def is_gpu_full(self) -> bool:
        """Whether a GPU that it used was nearly full at one time."""
        return self._gpus is not None and self._gpus.is_full

    def _run(self) -> None:
        gpus = self._gpus = GpuMemory()  # here: a driver takes its time to start
        rest_s = 0.0
        while not self._stop.wait(rest_s):
            if self._find_cost.is_below(_FIRST_FINDS_S):
                with self._find_cost:
                    self._pids = _below(self._supervisor)
            cost = _Cost()
            with cost:
                held_bytes = self._look()
            self._count_shared_once(held_bytes)
            if self._gpu_cost.is_below(_FIRST_FINDS_S):
                with self._gpu_cost:
                    gpus.look(set(self._pids))
            rest_s = max(INTERVAL_S, cost.spent_s / COST_FRACTION)

    def _look(self) -> int:
        """What they hold in all, in bytes; 0 if it is one process, which shares with nobody."""
        self._n_looks += 1
        held = [n_bytes for pid in self._pids if (n_bytes := _held(pid, _rss_of))]
        if len(held) < 2:
            self._alone_bytes = max([self._alone_bytes, *held])
            return 0
        self._rss_bytes = max(self._rss_bytes, sum(held))
        return sum(held)

    def _count_shared_once(self, n_bytes: int) -> None:
        """Once what they hold comes to rest at a new height, then more and more rarely.

        Again without a new height, because what was shared at first may be written to later.
        """
        settled = n_bytes <= _SETTLED * self._last_rss
        self._last_rss = n_bytes
        if not n_bytes or not _SHARED_IS_TOLD:
            return
        now_s = time.monotonic()
        is_higher = settled and n_bytes > _HIGHER * self._rss_at_pss
        is_old = now_s >= self._pss_s + (self._pss_s - self._pss_cost.began_s)
        if (is_higher or is_old) and self._pss_cost.is_below(_FIRST_PSS_S):
            self._pss_s = now_s
            with self._pss_cost:
                shares = [_held(pid, _pss_of) for pid in self._pids]
            if None not in shares:
                self._rss_at_pss = max(self._rss_at_pss, n_bytes)
                self._pss_bytes = max(self._pss_bytes, sum(filter(None, shares)))


class _Cost:
    """CPU time of this thread for one kind of work, and whether more of it may be spent."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self.began_s = time.monotonic()
        self._before_s = 0.0

    def is_below(self, first_s: float) -> bool:
        return self.spent_s <= first_s + COST_FRACTION * (time.monotonic() - self.began_s)

    def __enter__(self) -> None:
        self._before_s = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self.spent_s += time.thread_time() - self._before_s


def _below(root: int) -> tuple[int, ...]:
    if _LINUX:
        return tuple(descendants(root))
    with suppress(psutil.Error):
        return tuple(child.pid for child in psutil.Process(root).children(recursive=True))
    return ()


def _held(pid: int, ask: Callable[[int], int]) -> int | None:
    """What a process holds; 0 if it has ended, None if this system does not say."""
    try:
        return ask(pid)
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return 0
    except (psutil.Error, OSError):
        return None


def _rss_of(pid: int) -> int:
    if not _LINUX:
        n_bytes: int = psutil.Process(pid).memory_info().rss
        return n_bytes
    # A third of what psutil takes, and this is what is done five times a second.
    file = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
    try:
        return int(os.read(file, 256).split()[1]) * _PAGE_BYTES
    finally:
        os.close(file)


def _pss_of(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup", "rb") as lines:
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(b"Pss:"))
