from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import pytest

from batchlab.launching.memory_watch import COST_FRACTION, MemoryWatch

# Holds 200 MB, then waits for a word; `%s` is what it does in between.
HOLDS = """
import os, time
data = bytearray(200_000_000)
for i in range(0, len(data), 4096): data[i] = 1
{}
print("held", flush=True)
while not os.path.exists("enough"): time.sleep(0.005)
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are told apart on Linux only")


def peak_of(start: Callable, code: str, *, looks: int = 3):
    started = start(code)
    started.receive_until("held")
    watch = started.launched._memory
    before = watch._n_looks
    while watch._n_looks < before + looks:
        time.sleep(0.01)
    (started.launched._cwd / "enough").touch()
    end = started.launched.wait(30)
    assert end.peak is not None
    return end.peak


def test_the_peak_of_one_process_is_what_the_kernel_marked(start: Callable) -> None:
    peak = peak_of(start, HOLDS.format("del data"), looks=0)

    assert peak.counted == "largest_process"
    assert 200_000_000 < peak.bytes < 240_000_000


@linux
def test_pages_that_processes_share_count_once(start: Callable) -> None:
    fork = """
for _ in range(3):
    if os.fork() == 0:
        own = b"." * 20_000_000
        break
"""
    peak = peak_of(start, HOLDS.format(fork))

    assert peak.counted == "pss"
    assert 260_000_000 < peak.bytes < 320_000_000


def test_what_several_processes_hold_of_their_own_is_added_up(start: Callable) -> None:
    fork = """
children = 0
for _ in range(2):
    if os.fork() == 0:
        for i in range(0, len(data), 4096): data[i] = 2
        break
time.sleep(0.05)
"""
    peak = peak_of(start, HOLDS.format(fork), looks=6)

    assert 580_000_000 < peak.bytes < 700_000_000


def test_without_a_count_of_shared_pages_each_process_counts_in_full(
    start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS.
    monkeypatch.setattr("batchlab.launching.memory_watch._LINUX", False)
    monkeypatch.setattr("batchlab.launching.memory_watch._SHARED_IS_TOLD", False)
    fork = "for _ in range(3):\n    if os.fork() == 0: break"

    peak = peak_of(start, HOLDS.format(fork))

    assert peak.counted == "rss"
    assert peak.bytes > 800_000_000


def test_nothing_seen_is_not_zero() -> None:
    watch = MemoryWatch(os.getpid())  # which has no children here

    watch._thread.join(0.01)

    assert watch.stop() is None


def test_looking_costs_two_thousandths_of_a_core(start: Callable) -> None:
    # Of the thread's own CPU time; what it may spend at once at the start is left out.
    started = start("import time; time.sleep(600)")
    watch = started.launched._memory
    while watch._n_looks < 2:
        time.sleep(0.01)
    process = f"/proc/self/task/{watch._thread.native_id}/schedstat"

    def cpu_s() -> float:
        with open(process) as file:
            return int(file.read().split()[0]) / 1e9

    if not os.path.exists(process):
        pytest.skip("this kernel does not count")
    # Until the finding of processes has used up what it may spend at first.
    watch._tree._cost.spent_s = 1.0
    before, began_s = cpu_s(), time.monotonic()
    time.sleep(1.0)

    assert (cpu_s() - before) / (time.monotonic() - began_s) < 4 * COST_FRACTION
