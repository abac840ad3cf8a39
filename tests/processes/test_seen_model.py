"""What a child sees of a model, which may do to its process what it likes."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.handed_over import Net, workload
from torch import nn

from batchlab.processes.packed_workload import with_seen_model
from batchlab.workload.loading import LoadedWorkload, live_workload


def seen(model: Callable[[], Any]) -> LoadedWorkload:
    return with_seen_model(live_workload(workload(model=model), {}), timeout_s=60.0)


def test_a_workload_seen_again_is_the_same_and_another_than_before_it_was_seen() -> None:
    loaded = seen(Net)

    assert loaded.workload_id == seen(Net).workload_id
    assert loaded.workload_id != loaded.loaded_id


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
def test_a_model_that_cannot_be_made_is_left_to_the_check(model: Any) -> None:
    assert seen(model).loaded_id


def test_what_a_live_model_reads_and_imports_counts(tmp_path: Path) -> None:
    sys.path.insert(0, str(tmp_path))
    (tmp_path / "c.json").write_text(json.dumps({"dropout": 0.1}))
    (tmp_path / "lazy_of_mine.py").write_text("SLOPE = 1\n")
    folder = tmp_path

    def model() -> nn.Module:
        (folder / "c.json").read_text()
        __import__("lazy_of_mine")
        return nn.Linear(3, 2)

    def identity() -> str:
        loaded = live_workload(workload(model=model), {})
        return with_seen_model(replace(loaded, folder=tmp_path), timeout_s=60.0).workload_id

    found = [identity(), identity()]
    (tmp_path / "c.json").write_text(json.dumps({"dropout": 0.5}))
    found.append(identity())
    (tmp_path / "lazy_of_mine.py").write_text("SLOPE = 10\n")
    found.append(identity())

    assert found[0] == found[1]
    assert len(set(found)) == 3
