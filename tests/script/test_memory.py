"""The memory of a command's processes, and on its GPUs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from tests.reference.fake_nvml import GB, FakeNvml

from batchlab.script.memory import COST_FRACTION, GpuMemory, MemoryWatch

# Holds 60 MB, then waits for a word; `%s` is what it does in between.
HOLDS = """
import os, time
data = bytearray(60_000_000)
for i in range(0, len(data), 4096): data[i] = 1
{}
print("held", flush=True)
while not os.path.exists("enough"): time.sleep(0.005)
"""


@pytest.fixture(autouse=True)
def _however_busy_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchlab.script.memory._FIRST_PSS_S", 100.0)
    monkeypatch.setattr("batchlab.script.memory._FIRST_FINDS_S", 100.0)


linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are told apart on Linux only")


def peak_of(start: Callable, code: str, *, processes: int, is_shared_told: bool = True) -> int:
    """The peak of a command, after all its processes hold what they hold and were looked at."""
    started = start(code)
    while started.text.count("held") < processes:
        assert started.launched.wait(0.01) is None
    watch = started.launched._memory
    held_s, n_looks = time.monotonic(), watch._n_looks
    while is_shared_told and watch._pss_s < held_s:
        time.sleep(0.01)
        n_looks = watch._n_looks
    while watch._n_looks < n_looks + 2:  # what has begun is done
        time.sleep(0.01)
    (started.launched._cwd / "enough").touch()
    end = started.launched.wait(30)
    assert end.peak_bytes is not None
    return end.peak_bytes


@pytest.mark.slow
def test_the_peak_of_one_process_is_what_the_kernel_marked(start: Callable) -> None:
    peak = peak_of(start, HOLDS.format("del data"), processes=1, is_shared_told=False)

    assert 60_000_000 < peak < 90_000_000


FORKS = "for _ in range({}):\n    if os.fork() == 0:\n        {}\n        break"
OVERWRITES = "for i in range(0, len(data), 4096): data[i] = 2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_forks", "each", "least", "most"),
    [
        pytest.param(3, "own = b'.' * 20_000_000", 120_000_000, 160_000_000, marks=linux),
        (2, OVERWRITES, 180_000_000, 220_000_000),
    ],
)
def test_pages_that_processes_share_count_once_and_what_each_holds_of_its_own_is_added_up(
    n_forks: int, each: str, least: int, most: int, start: Callable
) -> None:
    peak = peak_of(start, HOLDS.format(FORKS.format(n_forks, each)), processes=n_forks + 1)

    assert least < peak < most


@pytest.mark.slow
def test_without_a_count_of_shared_pages_each_process_counts_in_full(
    start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS.
    monkeypatch.setattr("batchlab.script.memory._LINUX", False)
    monkeypatch.setattr("batchlab.script.memory._SHARED_IS_TOLD", False)

    peak = peak_of(start, HOLDS.format(FORKS.format(3, "pass")), processes=4, is_shared_told=False)

    assert peak > 240_000_000


def test_nothing_seen_is_not_zero() -> None:
    # A process without children: this one may have some from other tests.
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as alone:
        watch = MemoryWatch(alone.pid)
        watch._thread.join(0.01)
        seen = watch.stop()
        alone.kill()

    assert seen is None


class VirtualTime:
    """Clocks that go on by rests, and by what calls are said to take."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.cpu_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def thread_time(self) -> float:
        return self.cpu_s

    def wait(self, rest_s: float) -> bool:
        self.now_s += rest_s
        return self.now_s > 3600.0

    def call(self, cpu_s: float, answer: Callable[[], object]) -> Mock:
        def take(*_: object) -> object:
            self.cpu_s += cpu_s
            self.now_s += cpu_s
            return answer()

        return Mock(side_effect=take)


@pytest.mark.parametrize(
    ("dear", "first_s"), [("find", 0.02), ("look", 0.0), ("count", 0.1), ("ask", 0.02)]
)
def test_each_kind_of_looking_takes_a_two_thousandth_of_a_core_beyond_its_start(
    dear: str, first_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = VirtualTime()
    # What they hold grows by a tenth every ten seconds, so that shared pages are counted again.
    held = {
        "find": lambda: (1, 2),
        "look": lambda: int(GB * 1.1 ** (time.now_s // 10)),
        "count": lambda: GB,
        "ask": lambda: None,
    }
    calls = {kind: time.call(0.02 if kind == dear else 1e-5, held[kind]) for kind in held}
    for name, stand_in in {
        "time": time,
        "threading": Mock(Event=lambda: time),
        "_below": calls["find"],
        "_rss_of": calls["look"],
        "_pss_of": calls["count"],
        "GpuMemory": lambda: Mock(look=calls["ask"]),
        "_FIRST_FINDS_S": 0.02,
        "_FIRST_PSS_S": 0.1,
        "_SHARED_IS_TOLD": True,
    }.items():
        monkeypatch.setattr(f"batchlab.script.memory.{name}", stand_in)

    MemoryWatch(0)._run()

    taken_s = 0.02 * calls[dear].call_count
    at_once_s = 2 * 0.02  # a look at two processes is not cut in two
    assert 0.5 < taken_s <= first_s + COST_FRACTION * time.now_s + at_once_s


@pytest.mark.parametrize(
    ("looks", "peaks"),
    [
        # Of the command's own processes, 1 and 2.
        (
            [([{1: 2 * GB, 2: 3 * GB, 99: 40 * GB}, {99: GB}], [46, 1]), ([{1: GB}, {}], [46, 1])],
            [5, 0],
        ),
        # Where NVML names none of ours, what was added counts.
        ([([{}, {7: None}], [used, used - 9]) for used in (10, 14, 12)], [4, 4]),
        # Others who come later do not count once ours are named.
        ([([{1: GB}, {}], [1, 0]), ([{99: 60 * GB}, {}], [60, 0])], [1, 0]),
    ],
)
def test_the_peak_on_each_gpu_is_what_the_command_held(looks: list, peaks: list[int]) -> None:
    nvml = FakeNvml(users=[{}, {}], used=[0, 0])
    memory = GpuMemory(nvml)

    for users, used in looks:
        nvml.users, nvml.used = users, [n * GB for n in used]
        memory.look({1, 2})

    assert memory.most_bytes == [n * GB for n in peaks]
    assert not memory.is_full


@pytest.mark.parametrize(("used", "is_full"), [(75 * GB, False), (77 * GB, True)])
def test_a_gpu_of_which_nearly_all_is_taken_is_full(used: int, is_full: bool) -> None:
    memory = GpuMemory(FakeNvml(users=[{1: 70 * GB}, {}], used=[used, 0]))

    memory.look({1})

    assert memory.is_full == is_full


def test_a_gpu_that_is_lost_is_not_asked_for_numbers_it_has_not() -> None:
    memory = GpuMemory(FakeNvml(users=[{1: GB}, {1: GB}], used=[-1, GB]))

    memory.look({1})

    assert memory.most_bytes == [0, GB]


def test_without_nvml_nothing_is_known() -> None:
    memory = GpuMemory()
    if memory._nvml is not None:
        pytest.skip("there is one")

    memory.look({1})

    assert (memory.most_bytes, memory.is_full) == ([], False)
