"""Peak memory and the kernel's count of kills for memory."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from tests.reference import profiled_workloads

from batchlab.processes import memory
from batchlab.processes.children import run_in_child
from batchlab.processes.memory import (
    PeakMemory,
    available_bytes,
    is_out_of_memory,
    kills_for_memory,
    limit_memory,
)
from batchlab.records.trial import Status
from batchlab.words.reasons import reason_text

MEGABYTE = 1024**2


def test_the_peak_holds_what_was_allocated_and_given_back() -> None:
    peak = PeakMemory(torch.device("cpu"))
    before = peak.bytes()

    torch.ones(64 * MEGABYTE, dtype=torch.uint8)

    assert 60 * MEGABYTE < peak.bytes() - before < 100 * MEGABYTE


def test_where_no_memory_is_reported_none_is_known_and_no_limit_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_out_of_memory_is_told_by_type_or_by_the_allocators_signature(
    error: Exception, expected: bool
) -> None:
    assert is_out_of_memory(error) is expected


def test_a_process_gets_what_lies_within_its_limit_and_no_more() -> None:
    within, beyond = (
        run_in_child(profiled_workloads.allocate_within, 100 * MEGABYTE, n * MEGABYTE, timeout_s=60)
        for n in (50, 150)
    )

    assert within.value[0] == 50 * MEGABYTE
    assert beyond.status is Status.OOM
    assert "smaller" in reason_text(beyond.reason)


def test_the_memory_that_is_available_is_the_machines_or_the_groups_if_that_is_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_the_peak_on_cuda_is_what_the_allocator_reserved() -> None:
    peak = PeakMemory(torch.device("cuda"))
    torch.ones(64 * MEGABYTE, dtype=torch.uint8, device="cuda")

    assert peak.bytes() >= 64 * MEGABYTE
