"""A workload with too many objects to hand over is loaded by each child from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference import packed_functions
from tests.reference.user_file import write_user_file

from batchlab.errors import WorkloadError
from batchlab.processes import packed_workload
from batchlab.processes.children import run_in_child
from batchlab.processes.packed_workload import LoadedAgain, PackedWorkload
from batchlab.workload.loading import LoadedWorkload, live_workload, load_workload

LISTS = """
import random

def words(n):
    return [(f"sentence {k % 7} of {k} words and a few more", k % 3) for k in range(n)]
"""


def loaded(folder: Path, *, before: str = LISTS, train: str = "words(size)") -> LoadedWorkload:
    reference = write_user_file(
        folder, before=before, keywords="size=300, shift=0.5", fields=f"train={train}"
    )
    return load_workload(reference, {"size": "400"})


@pytest.fixture(autouse=True)
def small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_workload, "_MOST_PICKLED_BYTES", 16_000)


def packed_of(given: LoadedWorkload) -> PackedWorkload:
    return PackedWorkload(given.workload, again=LoadedAgain.of(given))


def test_a_child_calls_its_function_with_the_same_settings(tmp_path: Path) -> None:
    given = loaded(tmp_path)

    packed = packed_of(given)
    ended = run_in_child(packed_functions.sizes, packed, timeout_s=60.0)

    assert packed.is_loaded_again
    assert len(packed._blob) == 0
    assert ended.value == (400, 40)


def test_numbers_do_not_count_for_they_are_shared(tmp_path: Path) -> None:
    given = loaded(tmp_path, before="", train="examples(100_000, 0)")

    packed = packed_of(given)

    assert not packed.is_loaded_again
    assert torch.equal(packed.unpack().train[0], given.workload.train[0])


def test_a_live_workload_travels_by_value_however_large(tmp_path: Path) -> None:
    given = live_workload(loaded(tmp_path).workload, {})

    packed = packed_of(given)

    assert not packed.is_loaded_again
    assert len(packed._blob) > 16_000
    assert len(packed.unpack().train) == 400


@pytest.mark.parametrize("what", ["edited", "not seeded"])
def test_one_that_is_another_when_it_is_loaded_again_is_refused(what: str, tmp_path: Path) -> None:
    before: Any = LISTS
    if what == "not seeded":
        before = LISTS.replace("k % 7", "random.random()")
    packed = packed_of(loaded(tmp_path, before=before))
    if what == "edited":
        file = tmp_path / "mine.py"
        file.write_text(file.read_text().replace("k % 7", "k % 5"))

    with pytest.raises(WorkloadError, match="made another workload when it was loaded again: its"):
        packed.unpack()
