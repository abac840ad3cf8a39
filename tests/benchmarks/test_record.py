"""The recorder of grids: what lies on the disk is read, whenever it comes or goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.reference.script import script


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """benchmarks/regret/record.py, a script that finds its workloads beside it."""
    with script("regret/record.py") as module:
        monkeypatch.setattr(module, "HERE", tmp_path)
        monkeypatch.setattr(module, "step_s_of", lambda workload, size: 100.0 + size)
        yield module


@pytest.fixture
def row_file(record: ModuleType) -> ModuleType:
    return sys.modules["row_file"]


@pytest.fixture
def look_then_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file were taken away between a look at it and the reading."""
    monkeypatch.setattr(Path, "exists", lambda path: True)


def test_a_line_without_its_end_is_dropped_from_the_file(
    row_file: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "narrow.csv"
    file.write_text("16,0.1\n32,0.")

    assert list(row_file.lines(file)) == [["16", "0.1"]]
    assert file.read_text() == "16,0.1\n"


@pytest.mark.slow
@pytest.mark.usefixtures("look_then_gone")
def test_steps_are_timed_where_no_header_tells_their_times(record: ModuleType) -> None:
    recorder = record.Recorder("mlp-narrow", near_seeds=1, far_seeds=1)

    assert recorder.step_s(again=False)[16] == 116.0
