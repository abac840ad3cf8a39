"""A small workload, packed, and a store with a study of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reference.made_up_study import store_with_study
from tests.reference.small_workloads import small_workload

from batchlab.processes.packed_workload import PackedWorkload


@pytest.fixture(scope="session")
def packed() -> PackedWorkload:
    return PackedWorkload(small_workload(n=40))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.db"
    store_with_study(path).close()
    return path
