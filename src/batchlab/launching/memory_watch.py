"""MemoryWatch: looks at the memory of a command's processes while it runs, for little."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence

import psutil

from batchlab.launching.gpu_memory import GpuMemory
from batchlab.launching.memory_peak import Counted, MemoryPeak
from batchlab.launching.supervisor import descendants

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

    def __init__(self, supervisor: int, *, gpus: GpuMemory | None = None) -> None:
        """Begin to look.

        Args:
            supervisor: the process below which the command's are.
            gpus: what the GPUs hold; None: asks NVML, if it is installed.
        """
        self._tree = _Tree(supervisor)
        self._gpus = gpus
        self._pss_cost, self._gpu_cost = _Cost(), _Cost()
        self._alone_bytes = self._rss_bytes = self._pss_bytes = 0
        self._rss_at_pss = self._last_rss = 0
        self._pss_s = time.monotonic()
        self._n_looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="memory watch")
        self._thread.start()

    def stop(self, largest_process_bytes: int = 0) -> MemoryPeak | None:
        """Look no more.

        Args:
            largest_process_bytes: the peak of the largest process, as the kernel has marked it.

        Returns:
            The peak; None where nothing was seen.
        """
        self._stop.set()
        self._thread.join()
        # Shared pages were counted once at the most that was seen, or not at all there.
        is_pss = self._rss_bytes <= _HIGHER * self._rss_at_pss
        seen: list[tuple[int, Counted]] = [
            (max(largest_process_bytes, self._alone_bytes), "largest_process"),
            (self._pss_bytes, "pss") if is_pss else (self._rss_bytes, "rss"),
        ]
        most_bytes, counted = max(seen)
        if not most_bytes:
            return None
        return MemoryPeak(
            bytes=most_bytes,
            counted=counted,
            gpu_bytes=self._gpus.peaks if self._gpus else (),
            is_gpu_full=self._gpus is not None and self._gpus.is_full,
            n_looks=self._n_looks,
        )

    def _run(self) -> None:
        gpus = self._gpus = self._gpus or GpuMemory()  # here: a driver takes its time to start
        rest_s = 0.0
        while not self._stop.wait(rest_s):
            pids = self._tree.pids()
            cost = _Cost()
            with cost:
                held_bytes = self._look(pids)
            self._count_shared_once(pids, held_bytes)
            if self._gpu_cost.is_below(_FIRST_FINDS_S):
                with self._gpu_cost:
                    gpus.look(set(pids))
            rest_s = max(INTERVAL_S, cost.spent_s / COST_FRACTION)

    def _look(self, pids: Sequence[int]) -> int:
        """What they hold in all, in bytes; 0 if it is one process, which shares with nobody."""
        self._n_looks += 1
        held = [_held(pid, _rss_of) for pid in pids]
        n_bytes = sum(filter(None, held))
        if sum(map(bool, held)) < 2:
            self._alone_bytes = max(self._alone_bytes, n_bytes)
            return 0
        self._rss_bytes = max(self._rss_bytes, n_bytes)
        return n_bytes

    def _count_shared_once(self, pids: Sequence[int], n_bytes: int) -> None:
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
                shares = [_held(pid, _pss_of) for pid in pids]
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


class _Tree:
    """The processes below one, looked for anew as often as that is cheap."""

    def __init__(self, root: int) -> None:
        self._root, self._cost = root, _Cost()
        self._known: tuple[int, ...] = ()

    def pids(self) -> tuple[int, ...]:
        if self._cost.is_below(_FIRST_FINDS_S):
            with self._cost:
                self._known = tuple(descendants(self._root) if _LINUX else self._children())
        return self._known

    def _children(self) -> list[int]:
        try:
            return [child.pid for child in psutil.Process(self._root).children(recursive=True)]
        except psutil.Error:
            return []


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
