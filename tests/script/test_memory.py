"""The memory of a command's processes, and on its GPUs."""

import subprocess
import sys
import time

import pytest
from tests.reference.fake_nvml import GB, FakeNvml

from batchlab.script.memory import GpuMemory, MemoryWatch

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
def _however_busy_the_machine_is(monkeypatch):
    monkeypatch.setattr("batchlab.script.memory.COST_FRACTION", 100.0)


linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are told apart on Linux only")


FORKS = "for _ in range({}):\n    if os.fork() == 0:\n        {}\n        break"
OWN_TOO = FORKS.format(3, "own = b'.' * 20_000_000")
OVERWRITES = FORKS.format(2, "for i in range(0, len(data), 4096): data[i] = 2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "processes", "is_linux", "least_mb", "most_mb"),
    [
        # The peak of one process is what the kernel marked.
        ("del data", 1, True, 60, 90),
        # Pages that processes share count once, and what each holds of its own is added up.
        pytest.param(OWN_TOO, 4, True, 120, 160, marks=linux),
        (OVERWRITES, 3, True, 180, 220),
        # Without a count of shared pages, as on macOS, each process counts in full.
        (FORKS.format(3, "pass"), 4, False, 240, 360),
    ],
)
def test_the_peak_is_the_most_that_its_processes_held_together(
    code, processes, is_linux, least_mb, most_mb, start, tmp_path, monkeypatch
):
    """Looked at after all of them hold what they hold."""
    if not is_linux:
        monkeypatch.setattr("psutil.LINUX", False)
    started = start(HOLDS.format(code))
    while started.text.count("held") < processes:
        assert started.launched.wait(0.01) is None
    watch = started.launched._memory
    n_looks = watch._n_looks
    while watch._n_looks < n_looks + 2:  # what has begun is done
        time.sleep(0.01)
    (tmp_path / "enough").touch()

    end = started.launched.wait(30)

    assert least_mb < end.peak_bytes / 1e6 < most_mb


def test_nothing_seen_is_not_zero():
    # A process without children: this one may have some from other tests.
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as alone:
        watch = MemoryWatch(alone.pid)
        watch._thread.join(0.01)
        seen = watch.stop()
        alone.kill()

    assert seen is None


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
        # A GPU that was lost has no numbers.
        ([([{1: 70 * GB}, {1: GB}], [75, -1])], [70, 0]),
        # Others who come later do not count once ours are named.
        ([([{1: GB}, {}], [1, 0]), ([{99: 60 * GB}, {}], [60, 0])], [1, 0]),
    ],
)
def test_the_peak_on_each_gpu_is_what_the_command_held(looks, peaks, monkeypatch):
    nvml = FakeNvml(users=[{}, {}], used=[0, 0])
    monkeypatch.setattr("batchlab.script.memory._library", lambda: nvml)
    memory = GpuMemory()

    for users, used in looks:
        nvml.users, nvml.used = users, [n * GB for n in used]
        memory.look({1, 2})

    assert memory.most_bytes == [n * GB for n in peaks]


def test_without_nvml_nothing_is_known():
    memory = GpuMemory()
    if memory._nvml is not None:
        pytest.skip("there is one")

    memory.look({1})

    assert memory.most_bytes == []
