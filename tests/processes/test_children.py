"""A child process: its errors, its death by memory or by a kill, and what it leaves behind."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.reference import packed_functions, profiled_workloads
from tests.reference.living import is_running

from batchlab.processes import memory
from batchlab.processes.children import Child, Ended, run_in_child
from batchlab.processes.memory import (
    PeakMemory,
    available_bytes,
    is_out_of_memory,
    kills_for_memory,
    limit_memory,
)
from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text

# What runs in children must be importable there: pytest's own modules are not, so the functions
# live in a module of their own.


TIMEOUT_S = 60.0
HERE = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def ended(function: object, *arguments: object) -> Ended:
    return run_in_child(function, *arguments, timeout_s=TIMEOUT_S)  # type: ignore[arg-type]


def test_children_show_a_warning_once_whatever_its_numbers():
    first, second = (ended(packed_functions.shown, f"a batch of {n}").value for n in (8, 16))

    assert "UserWarning: a batch of 8" in first
    assert second == ""


@pytest.mark.parametrize(
    ("action", "status", "error", "said"),
    [
        # Of an error the name and first line come back, of one of ours its text alone.
        (packed_functions.raise_value_error, Status.ERROR, "ValueError", "ValueError: first line"),
        (packed_functions.raise_workload_error, Status.ERROR, "WorkloadError", "is odd"),
        (packed_functions.allocate_beyond_the_machine, Status.OOM, "RuntimeError", "smaller"),
        (profiled_workloads.meet_its_own_limit, Status.OOM, "RuntimeError", "smaller"),
        (profiled_workloads.kill_itself, Status.KILLED, None, "SIGKILL"),
        (profiled_workloads.crash, Status.ERROR, None, "exit code 3"),
        (profiled_workloads.hang, Status.TIMEOUT, None, "was still running after 100 ms"),
    ],
)
def test_how_a_child_ended_comes_back_with_its_reason(action, status, error, said):
    limit_s = 0.1 if status is Status.TIMEOUT else TIMEOUT_S
    result = run_in_child(packed_functions.does, action, timeout_s=limit_s)

    assert (result.status, result.error) == (status, error)
    assert said in reason_text(result.reason)
    assert "\n" not in reason_text(result.reason)
    assert (error is None) == (result.traceback is None)
    assert error is None or action.__name__ in result.traceback


def test_a_kill_while_the_kernels_count_of_memory_kills_rises_is_out_of_memory(monkeypatch):
    counts = iter([4, 5])
    monkeypatch.setattr("batchlab.processes.children.kills_for_memory", lambda: next(counts))

    assert Child(packed_functions.does, profiled_workloads.kill_itself).wait().status is Status.OOM


def test_a_child_hears_that_it_should_stop_and_not_ctrl_c_in_the_terminal():
    child = Child(packed_functions.count_until_asked_to_stop)
    first = child.receive()

    os.kill(child._process.pid, signal.SIGINT)
    child.ask_to_stop()

    assert first == 0
    assert child.wait().value == "stopped"


def test_a_request_to_stop_holds_until_the_next_message():
    child = Child(packed_functions.echo)
    child.send("wait")
    child.ask_to_stop()
    first = child.receive()
    child.send("go on")
    second = child.receive()
    child.end()
    child.send("too late")

    assert (first, second) == (("wait", True), ("go on", False))
    assert not child.is_alive()


@pytest.mark.slow
def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    """The server starts without torch, and never runs the script of its caller again."""
    pid_file, script = tmp_path / "pid", tmp_path / "unguarded.py"
    script.write_text(
        "import sys\n"
        "from batchlab.processes.server import start_early\n"
        "start_early()\n"
        "print('main runs', 'torch' in sys.modules, flush=True)\n"
        "from batchlab.processes.children import Child, run_in_child\n"
        "from tests.reference import packed_functions\n"
        "print(run_in_child(packed_functions.product, 2, 3, timeout_s=60).value, flush=True)\n"
        f"Child(packed_functions.hang_and_tell, {str(pid_file)!r}).wait()\n"
    )
    command = [sys.executable, str(script)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=HERE)
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")

    parent.kill()
    printed, _ = parent.communicate(timeout=TIMEOUT_S)

    assert printed.splitlines() == ["main runs False", "6"]
    wait_until(lambda: not is_running(int(pid_file.read_text())))


def wait_until(condition: object) -> None:
    ends_s = time.monotonic() + TIMEOUT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < ends_s, "waited in vain"
        time.sleep(0.02)


def test_an_interrupt_while_a_child_is_waited_for_does_not_lose_how_it_ended(monkeypatch):
    child = Child(packed_functions.product, 6, 7)
    join = child._process.join

    def interrupted() -> None:
        monkeypatch.setattr(child._process, "join", join)
        raise KeyboardInterrupt

    monkeypatch.setattr(child._process, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        child.receive()

    assert child.wait().value == 42


def test_ctrl_c_is_blocked_in_the_server_that_children_are_forked_from():
    assert ended(packed_functions.blocked_signals).value == [signal.SIGINT]


# Peak memory and the kernel's count of kills for memory


MEGABYTE = 1024**2


def test_the_peak_holds_what_was_allocated_and_given_back():
    peak = PeakMemory(torch.device("cpu"))
    before = peak.bytes()

    torch.ones(64 * MEGABYTE, dtype=torch.uint8)

    assert 60 * MEGABYTE < peak.bytes() - before < 100 * MEGABYTE


def test_where_no_memory_is_reported_none_is_known_and_no_limit_is_set(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    cpu = torch.device("cpu")

    limit_memory(cpu, 1)  # this process: it would not survive it

    assert PeakMemory(cpu).bytes() is None
    assert kills_for_memory() is None
    assert available_bytes(cpu) is None
    assert torch.ones(MEGABYTE).sum() == MEGABYTE


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("out of memory, says somebody's message"), False),
        (ValueError("DefaultCPUAllocator"), False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOENT, "No such file"), False),
    ],
)
def test_out_of_memory_is_told_by_type_or_by_the_allocators_signature(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_process_gets_what_lies_within_its_limit_and_no_more():
    within, beyond = (
        run_in_child(profiled_workloads.allocate_within, 100 * MEGABYTE, n * MEGABYTE, timeout_s=60)
        for n in (50, 150)
    )

    assert within.value[0] == 50 * MEGABYTE
    assert beyond.status is Status.OOM
    assert "smaller" in reason_text(beyond.reason)


def test_the_memory_available_is_the_machines_or_the_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "ROOT", tmp_path)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    (tmp_path / "proc/vmstat").write_text("pgfault 7\noom_kill 3\n")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    cpu = torch.device("cpu")

    of_machine = available_bytes(cpu)
    (group / "memory.max").write_text("2048000\n")
    (group / "memory.current").write_text("1000000\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 400000\n")
    of_group = available_bytes(cpu)
    (group / "memory.max").write_text("max\n")
    without_limit = available_bytes(cpu)

    assert kills_for_memory() == 3
    assert of_machine == without_limit == 4000 * 1024
    assert of_group == 2_048_000 - 1_000_000 + 400_000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_peak_on_cuda_is_what_the_allocator_reserved():
    peak = PeakMemory(torch.device("cuda"))
    torch.ones(64 * MEGABYTE, dtype=torch.uint8, device="cuda")

    assert peak.bytes() >= 64 * MEGABYTE
