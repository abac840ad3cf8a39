"""The recorder of grids: what lies on the disk is read, whenever it comes or goes."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

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


@pytest.mark.usefixtures("look_then_gone")
@pytest.mark.parametrize("reading", ["lines", "packed_lines"])
def test_a_file_that_is_not_there_holds_no_line(
    row_file: ModuleType, tmp_path: Path, reading: str
) -> None:
    lines_of: Callable[[Path], Any] = getattr(row_file, reading)

    assert list(lines_of(tmp_path / "none")) == []


def test_a_line_without_its_end_is_dropped_from_the_file(
    row_file: ModuleType, tmp_path: Path
) -> None:
    file = tmp_path / "narrow.csv"
    file.write_text("16,0.1\n32,0.")

    assert list(row_file.lines(file)) == [["16", "0.1"]]
    assert file.read_text() == "16,0.1\n"


def test_packed_lines_come_without_their_head(row_file: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "narrow.csv.gz"
    file.write_bytes(gzip.compress(b"batch_size,learning_rate\n16,0.1\n"))

    assert list(row_file.packed_lines(file)) == [["16", "0.1"]]


@pytest.mark.slow
@pytest.mark.usefixtures("look_then_gone")
def test_steps_are_timed_where_no_header_tells_their_times(record: ModuleType) -> None:
    recorder = record.Recorder("mlp-narrow", near_seeds=1, far_seeds=1)

    assert recorder.step_s(again=False)[16] == 116.0


def test_steps_are_timed_anew_only_when_asked(record: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mlp-narrow.json").write_text(json.dumps({"step_s": {"16": 0.25}}))
    recorder = record.Recorder("mlp-narrow", near_seeds=1, far_seeds=1)

    assert recorder.step_s(again=False) == {16: 0.25}
    assert recorder.step_s(again=True)[16] == 116.0
