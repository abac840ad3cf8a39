"""A packed: what a workload is like after its way to a child process."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference import packed_functions
from tests.reference.user_file import write_user_file
from torch import nn

from batchlab.errors import EditedError, WorkloadError
from batchlab.processes.children import run_in_child
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.workload.definition import Workload
from batchlab.workload.loading import load_workload

TIMEOUT_S = 60.0


def live_workload(x: torch.Tensor, scale: float = 2.0, **fields: Any) -> Workload:
    """A workload that only this process knows: its functions are closures."""
    offset = torch.tensor([0.5])
    given = {
        "name": "live",
        "model": lambda: nn.Linear(3, 1),
        "train": (x,),
        "loss": lambda model, batch: (model(batch[0]) * scale + offset).pow(2).mean(),
        "validation": None,
    }
    return Workload(**(given | fields))


def test_a_child_computes_what_the_parent_computes() -> None:
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    workload = live_workload(x)
    torch.manual_seed(0)
    expected = float(workload.loss(workload.model(), (x,)).detach())

    ended = run_in_child(packed_functions.first_loss, PackedWorkload(workload), timeout_s=TIMEOUT_S)

    assert ended.value == expected


def test_the_callers_tensors_stay_where_they_are() -> None:
    array = np.zeros((4, 3), dtype=np.float32)
    x = torch.from_numpy(array)
    PackedWorkload(live_workload(x))

    array[0, 0] = 7.0

    assert x[0, 0] == 7.0
    assert not x.is_shared()


def test_the_same_tensor_used_twice_is_packed_once() -> None:
    x = torch.ones(1000, 3)

    unpacked = PackedWorkload(live_workload(x, train=(x, x))).unpack()

    assert torch.equal(unpacked.train[0], x)
    assert unpacked.train[0].data_ptr() == unpacked.train[1].data_ptr()


@pytest.mark.slow
def test_a_child_reads_large_tensors_without_a_copy_of_its_own() -> None:
    megabyte = 1024**2
    n_rows = 200 * megabyte // 12  # 200 MB

    (_, without), (total, with_them) = (
        run_in_child(
            packed_functions.own_bytes,
            PackedWorkload(live_workload(torch.ones(n, 3))),
            timeout_s=TIMEOUT_S,
        ).value
        for n in (10, n_rows)
    )

    assert total == float(n_rows)
    assert with_them - without < 50 * megabyte


class Rows:
    """Examples in an array of NumPy, in a list and by its side as a view."""

    def __init__(self, n: int) -> None:
        self.rows = np.ones((n, 3))
        self.ends = self.rows[-2:]
        self.names = np.array(["a", "b"])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.rows[index])


def test_arrays_of_a_dataset_travel_in_shared_memory_and_may_be_written_to() -> None:
    workload = live_workload(torch.zeros(0), train=Rows(1_000_000))

    packed = PackedWorkload(workload)

    first, second = packed.unpack().train, packed.unpack().train
    first.rows[0] = 7.0
    assert len(packed._blob) < 20_000
    assert np.array_equal(second.rows, workload.train.rows)
    assert np.array_equal(second.ends, workload.train.ends)
    assert list(second.names) == ["a", "b"]
    assert first[0].tolist() == [7.0, 7.0, 7.0]


def test_a_workload_that_cannot_travel_is_named_with_what_to_do() -> None:
    lock = threading.Lock()
    workload = live_workload(torch.zeros(4, 3), loss=lambda model, batch: lock.locked())

    with pytest.raises(WorkloadError, match=r"'live'.*file\.py:name"):
        PackedWorkload(workload)


# Files of the user's that children import


def packed_file(folder: Path) -> PackedWorkload:
    (folder / "helper_of_mine.py").write_text("WIDTH = 3\n")
    fields = "model=lambda: nn.Linear(4, helper_of_mine.WIDTH)"
    reference = write_user_file(folder, before="import helper_of_mine", fields=fields)
    loaded = load_workload(reference, {})
    return PackedWorkload(loaded.workload, files=loaded.files)


def test_a_child_refuses_an_edited_module_by_name_and_takes_it_when_it_is_put_back(
    tmp_path: Path,
) -> None:
    packed = packed_file(tmp_path)
    first = run_in_child(packed_functions.first_loss, packed, timeout_s=TIMEOUT_S)

    file = tmp_path / "helper_of_mine.py"
    later_s = file.stat().st_mtime + 2
    file.write_text("WIDTH = 4\n")
    os.utime(file, (later_s, later_s))
    with pytest.raises(EditedError, match=r"^helper_of_mine\.py was edited since this study began"):
        run_in_child(packed_functions.first_loss, packed, timeout_s=TIMEOUT_S)
    file.write_text("WIDTH = 3\n")
    os.utime(file, (later_s, later_s))  # in the second in which it was edited
    again = run_in_child(packed_functions.first_loss, packed, timeout_s=TIMEOUT_S)

    assert first.value == again.value is not None


def test_the_file_of_the_workload_itself_may_be_edited_for_it_travels_by_value(
    tmp_path: Path,
) -> None:
    packed = packed_file(tmp_path)
    (tmp_path / "mine.py").write_text("raise SystemExit('edited')\n")

    ended = run_in_child(packed_functions.first_loss, packed, timeout_s=TIMEOUT_S)

    assert ended.status is None
