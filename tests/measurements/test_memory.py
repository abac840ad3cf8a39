"""Peak memory and the kernel's count of kills for memory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from batchlab.measurements import memory
from batchlab.measurements.memory import PeakMemory, is_out_of_memory, kills_for_memory

MEGABYTE = 1024**2


def test_the_peak_holds_what_was_allocated_and_given_back() -> None:
    peak = PeakMemory(torch.device("cpu"))
    before = peak.bytes()

    block = torch.ones(64 * MEGABYTE, dtype=torch.uint8)
    del block

    after = peak.bytes()
    assert before is not None
    assert after is not None
    assert 60 * MEGABYTE < after - before < 100 * MEGABYTE


def test_a_new_peak_begins_at_the_present_size() -> None:
    block = torch.ones(64 * MEGABYTE, dtype=torch.uint8)
    peak = PeakMemory(torch.device("cpu"))

    seen = peak.bytes()

    del block
    assert seen is not None
    assert seen < 20 * MEGABYTE


def test_a_system_without_the_kernels_marks_reports_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("_STATUS", "_CLEAR_REFS", "_VMSTAT"):
        monkeypatch.setattr(memory, name, tmp_path / "no" / name)

    assert PeakMemory(torch.device("cpu")).bytes() is None
    assert kills_for_memory() is None


def test_the_count_of_kills_is_the_kernels() -> None:
    vmstat = Path("/proc/vmstat").read_text()
    found = re.search(r"^oom_kill (\d+)$", vmstat, re.M)

    assert kills_for_memory() == (int(found[1]) if found else None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("out of memory, says somebody's message"), False),
        (ValueError("DefaultCPUAllocator"), False),
    ],
)
def test_out_of_memory_is_told_by_type_or_by_the_allocators_signature(
    error: Exception, expected: bool
) -> None:
    assert is_out_of_memory(error) is expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_peak_on_cuda_is_what_the_allocator_reserved() -> None:
    peak = PeakMemory(torch.device("cuda"))
    block = torch.ones(64 * MEGABYTE, dtype=torch.uint8, device="cuda")
    del block

    seen = peak.bytes()

    assert seen is not None
    assert seen >= 64 * MEGABYTE
