"""What a workload and its memory maps are like after their way to a child process."""

import json
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference import packed_functions
from tests.reference.by_day import by_day
from tests.reference.small_workloads import small_trial
from tests.reference.tiny_workload import Net, workload
from tests.reference.user_file import write_user_file
from torch import nn

from batchlab.errors import EditedError, WorkloadError
from batchlab.processes.children import run_in_child
from batchlab.processes.packed_workload import PackedWorkload, reduced_map, with_seen_model
from batchlab.workload.definition import Workload
from batchlab.workload.identity import value_digest
from batchlab.workload.loading import LoadedWorkload, load_workload

MEGABYTE = 1024**2
VALUES = np.arange(60_000, dtype=np.float32).reshape(10_000, 6)


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "values.npy", VALUES)
    return tmp_path / "values.npy"


def in_child(function: Any, packed: PackedWorkload, *more: Any) -> Any:
    ended = run_in_child(function, packed, *more, timeout_s=60.0)
    assert ended.status is None, ended
    return ended.value


def closures(x: torch.Tensor, **fields: Any) -> Workload:
    """A workload that only this process knows: its functions are closures."""
    offset = torch.tensor([0.5])
    given = {
        "name": "live",
        "model": lambda: nn.Linear(3, 1),
        "train": (x,),
        "loss": lambda model, batch: (model(batch[0]) * 2.0 + offset).pow(2).mean(),
        "validation": None,
    }
    return Workload(**(given | fields))


def test_a_child_computes_what_the_parent_computes():
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    workload = closures(x)
    torch.manual_seed(0)
    expected = float(workload.loss(workload.model(), (x,)).detach())

    assert in_child(packed_functions.first_loss, PackedWorkload(workload)) == expected


def test_tensors_stay_where_the_caller_has_them_and_are_packed_once():
    array = np.zeros((4, 3), dtype=np.float32)
    x = torch.from_numpy(array)
    packed = PackedWorkload(closures(x, train=(x, x)))
    array[0, 0] = 7.0

    one, other = packed.unpack().train
    assert one.data_ptr() == other.data_ptr()
    assert (x[0, 0], one[0, 0], x.is_shared()) == (7.0, 0.0, False)


@pytest.mark.slow
def test_a_child_reads_large_tensors_without_a_copy_of_its_own():
    n_rows = 100 * MEGABYTE // 12

    (_, without), (total, with_them) = (
        in_child(packed_functions.own_bytes, PackedWorkload(closures(torch.ones(n, 3))))
        for n in (10, n_rows)
    )

    assert total == float(n_rows)
    assert with_them - without < 50 * MEGABYTE


class Rows:
    """Examples in an array of NumPy, by its side as a view, and in a memory map."""

    def __init__(self, n: int, file: Path) -> None:
        self.mapped = np.load(file, mmap_mode="r")
        self.rows = np.ones((n, 3))
        self.ends = self.rows[-2:]
        self.names = np.array(["a", "b"])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.rows[index])


def test_arrays_of_a_dataset_travel_in_shared_memory_and_may_be_written_to(file):
    workload = closures(torch.zeros(0), train=Rows(10_000, file))

    packed = PackedWorkload(workload)

    first, second = packed.unpack().train, packed.unpack().train
    first.rows[0] = 7.0
    assert len(packed._blob) < 20_000
    assert np.array_equal(second.rows, workload.train.rows)
    assert np.array_equal(second.ends, workload.train.ends)
    assert list(second.names) == ["a", "b"]
    assert np.array_equal(second.mapped, VALUES)
    assert first[0].tolist() == [7.0, 7.0, 7.0]


def test_a_workload_that_cannot_travel_is_named_with_what_to_do():
    lock = threading.Lock()
    workload = closures(torch.zeros(4, 3), loss=lambda model, batch: lock.locked())

    with pytest.raises(WorkloadError, match=r"'live'.*file\.py:name"):
        PackedWorkload(workload)


@pytest.mark.slow
def test_a_compiled_function_travels_as_it_was_written():
    @torch.compile
    def loss(model: Any, batch: Any) -> torch.Tensor:
        return model(batch[0]).mean()

    given = closures(torch.ones(4, 3), loss=loss)

    unpacked = PackedWorkload(given).unpack()

    assert not hasattr(unpacked.loss, "_torchdynamo_orig_callable")
    assert unpacked.loss(nn.Identity(), unpacked.train) == 1
    assert value_digest(loss) == value_digest(loss._torchdynamo_orig_callable)


# Files of the user's that children import


def test_a_child_refuses_an_edited_file_by_name_and_takes_it_when_it_is_put_back(tmp_path):
    """A module that the workload imports, and a configuration that its model reads."""
    texts = {"helper_of_mine.py": "WIDTH = 3\n", "c.json": "2"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    before = "import helper_of_mine, pathlib\nREAD = pathlib.Path(__file__).with_name('c.json')\n"
    fields = "model=lambda: nn.Linear(4, helper_of_mine.WIDTH + int(READ.read_text()))"
    reference = write_user_file(tmp_path, before=before, fields=fields)
    loaded = with_seen_model(load_workload(reference, {}), timeout_s=60.0)
    packed = PackedWorkload(loaded.workload, files=loaded.files)
    # The file of the workload itself may be edited, because it travels by value.
    (tmp_path / "mine.py").write_text("raise SystemExit('edited')\n")
    first = in_child(packed_functions.first_loss, packed)

    for name, text in texts.items():
        (tmp_path / name).write_text("WIDTH = 40\n")
        with pytest.raises(EditedError, match=f"^{name} was edited since this study began"):
            in_child(packed_functions.first_loss, packed)
        (tmp_path / name).write_text(text)

    assert in_child(packed_functions.first_loss, packed) == first


def seen(model: Any) -> LoadedWorkload:
    return with_seen_model(load_workload(workload(model=model), {}), timeout_s=60.0)


@pytest.mark.parametrize(
    "model",
    [
        lambda: os._exit(3),
        lambda: {}["a"],
        lambda: 3,
        (lambda lock: lambda: lock)(threading.Lock()),
    ],
    ids=["ends its process", "raises", "no model", "cannot travel"],
)
def test_a_model_that_cannot_be_made_is_left_to_the_check(model):
    assert seen(model).workload_id


def test_what_a_live_model_reads_and_imports_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sys.path.insert(0, str(tmp_path))
    Path("c.json").write_text(json.dumps({"dropout": 0.1}))
    Path("lazy_of_mine.py").write_text("SLOPE = 1\n")

    def model() -> nn.Module:
        Path("c.json").read_text()
        __import__("lazy_of_mine")
        return Net()

    found = [seen(model).workload_id]
    assert seen(model).workload_id == found[0]
    Path("c.json").write_text(json.dumps({"dropout": 0.5}))
    found.append(seen(model).workload_id)
    Path("lazy_of_mine.py").write_text("SLOPE = 10\n")
    found.append(seen(model).workload_id)

    unseen = load_workload(workload(model=model), {}).workload_id
    assert len({*found, unseen}) == 4


# Memory maps

WIDTH = 4096  # numbers of an example: 16 KiB


@pytest.mark.parametrize(
    "part",
    [np.s_[:], np.s_[7000:], np.s_[3], np.s_[9_999:], np.s_[::2], np.s_[:, 1], np.s_[5:, 1:3]],
)
def test_a_map_is_opened_again_at_the_same_numbers(file, part):
    reduced = reduced_map(np.load(file, mmap_mode="r+")[part])

    assert reduced is not None
    opened = reduced[0](*reduced[1])
    assert reduced_map(opened) is None  # what is written to it is in this process only
    assert np.array_equal(np.asarray(opened), VALUES[part])
    assert len(pickle.dumps(reduced)) < 1000
    opened[...] = 0
    assert np.array_equal(np.load(file), VALUES)


def test_what_is_not_all_in_a_file_travels_by_its_bytes(file):
    mapped = np.load(file, mmap_mode="r")

    others = (mapped[::-1], mapped + 1, VALUES, np.load(file, mmap_mode="c"), None)

    assert [reduced_map(other) for other in others] == [None] * 5
    file.unlink()
    assert reduced_map(mapped) is None


def own_bytes(columns: int, file: Path, n_bytes: int) -> tuple[float, int, int]:
    """Loss, and what loading and training take of memory in the parent and in a child."""
    with file.open("wb") as sparse:  # takes no room on the disk
        sparse.truncate(n_bytes)
    before = packed_functions.anonymous_bytes()
    n = n_bytes // (4 * WIDTH)
    rows = np.memmap(file, dtype="float32", mode="r+", shape=(n, WIDTH))
    given = Workload(
        name="mapped",
        model=lambda: nn.Linear(WIDTH, 2),
        train=(*np.split(rows, columns, axis=1), np.zeros(n, dtype=np.int64)),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(
            model(torch.cat(batch[:-1], 1)), batch[-1]
        ),
    )
    loaded = load_workload(given, {}).workload
    packed = PackedWorkload(loaded)
    assert len(packed._blob) < 20_000
    trial = small_trial(loaded, batch_size=64)
    loss, child_bytes = in_child(packed_functions.own_bytes_of_training, packed, trial)
    return loss, packed_functions.anonymous_bytes() - before, child_bytes


@pytest.mark.slow
@pytest.mark.parametrize("columns", by_day([1, 2], [1]))
def test_a_large_map_takes_no_more_memory_than_a_small_one(columns, tmp_path):
    own_bytes(columns, tmp_path / "first", MEGABYTE)  # what is imported on the way is there then

    _, small, small_in_child = own_bytes(columns, tmp_path / "small", 16 * MEGABYTE)
    loss, large, large_in_child = own_bytes(columns, tmp_path / "large", 1024 * MEGABYTE)

    # A copy of the tenth that is for validation would be 102 MiB. The allocator keeps freed batches
    # of 4 MiB, now three of them and now seven (16 to 512 MiB of data: 12 to 29 MiB in the child).
    assert loss > 0
    assert large - small < 50 * MEGABYTE
    assert large_in_child - small_in_child < 50 * MEGABYTE
