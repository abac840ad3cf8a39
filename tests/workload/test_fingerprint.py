"""What stands for a file: whole where it is small, blocks and its time where it is large."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference.handed_over import workload
from torch.utils.data import ConcatDataset, Dataset

from batchlab.workload import file_region as fingerprint
from batchlab.workload import identity
from batchlab.workload.file_region import FileRegion, add_region
from batchlab.workload.loading import live_workload

N, WIDTH = 400, 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.zeros((N, WIDTH), dtype=np.float32).tofile(tmp_path / "rows.bin")
    return tmp_path / "rows.bin"


def rows(file: Path) -> Any:
    return np.memmap(file, dtype=np.float32, mode="r", shape=(N, WIDTH))


class Held(Dataset[Any]):
    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(WIDTH), 0


LABELS = np.zeros(N, dtype=np.int64)


@pytest.mark.parametrize(
    "data_of",
    [
        lambda file: (rows(file), LABELS),
        lambda file: {"x": rows(file), "y": LABELS},
        lambda file: (rows(file)[:, :2], rows(file)[:, 2:], LABELS),
        lambda file: Held(rows=rows(file)),
        lambda file: Held(files={"train": [file]}),
        lambda file: Held(name=str(file)),
        lambda file: ConcatDataset([Held(), Held(name=str(file))]),
    ],
    ids=["tuple", "dict", "columns", "map held", "path held", "name held", "Dataset held"],
)
def test_an_edited_file_is_another_workload_and_the_same_one_is_the_same(
    data_of: Any, file: Path
) -> None:
    def known_by() -> str:
        return live_workload(workload(train=data_of(file), validation=None), {}).workload_id

    first, again = known_by(), known_by()
    with file.open("r+b") as edited:  # a number that none of the examples looked at has
        edited.seek(4 * (WIDTH * 5 + 1))
        edited.write(b"\1")

    assert first == again
    assert known_by() != first


def told(file: Path) -> str:
    digest = hashlib.sha256()
    add_region(digest, FileRegion(path=str(file), offset=8, n_bytes=file.stat().st_size - 8))
    return digest.hexdigest()


def test_of_a_large_file_blocks_count_and_when_it_was_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_WHOLE_BYTES", 1024**2)
    monkeypatch.setattr(fingerprint, "_BLOCKS", 3)
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(2 * 1024**2))
    facts = large.stat()
    before = told(large)

    def edited(place: int, *, at_ns: int) -> str:
        with large.open("r+b") as opened:
            opened.seek(place)
            opened.write(b"\1")
        os.utime(large, ns=(at_ns, at_ns))
        found = told(large)
        large.write_bytes(bytes(2 * 1024**2))
        os.utime(large, ns=(facts.st_mtime_ns, facts.st_mtime_ns))
        return found

    assert told(large) == before
    assert edited(300_000, at_ns=facts.st_mtime_ns) == before  # between the blocks, time put back
    assert edited(300_000, at_ns=facts.st_mtime_ns + 1) != before
    assert edited(1024**2, at_ns=facts.st_mtime_ns) != before


def test_texts_that_name_no_file_are_no_obstacle_and_a_file_named_twice_counts_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(identity, "add_region", lambda digest, region: read.append(region))

    live_workload(
        workload(
            train=Held(
                names=[str(file)] * 1000, a=file, b=str(file), note="none", empty="", c="\0"
            ),
            validation=None,
        ),
        {},
    )

    assert read == [FileRegion(path=str(file), offset=0, n_bytes=4 * N * WIDTH)]
