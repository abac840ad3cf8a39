"""The registry: a row each, and what the row says is what the engine does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.reference.command_engine import command_engine
from tests.reference.local_engine import engine_on
from tests.reference.made_up_study import store_with_study
from tests.reference.recorded_grid import made_up_rows, write_grid
from tests.reference.small_workloads import small_workload
from tests.reference.training_script import training_script

from batchlab.engines.contract import Engine
from batchlab.engines.recorded import RecordedEngine
from batchlab.engines.recorded_grid import RecordedGrid
from batchlab.engines.registry import engine_rows
from batchlab.processes.packed_workload import PackedWorkload


@pytest.fixture(params=engine_rows())
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """One of each row."""
    if request.param == "recorded":
        grid = RecordedGrid.read(write_grid(tmp_path, made_up_rows()))
        return RecordedEngine(grid, seeds=(0, 1), step_s={16: 1.0, 32: 1.0, 64: 1.0})
    if request.param == "command":
        return command_engine(training_script(tmp_path), tmp_path)
    assert request.param == "plain", "a new row needs an example here"
    store = store_with_study(tmp_path / "lab.db")
    return engine_on(store, PackedWorkload(small_workload(n=40)))


def test_an_engine_can_do_what_its_row_says(engine: Engine) -> None:
    row = engine_rows()[engine.name]

    assert row.load() is type(engine)
    assert engine.capabilities == row.capabilities
    assert row.capabilities.any_learning_rate == (engine.learning_rates(16) is None)
    assert row.capabilities.any_seed == (engine.n_seeds is None)
    assert row.capabilities.side_by_side or engine.n_workers == 1
    assert row.description


def test_listing_the_engines_loads_none() -> None:
    code = (
        "import sys\n"
        "from batchlab.engines.registry import engine_rows\n"
        "heavy = [row.module for row in engine_rows().values()] + ['torch']\n"
        "print(*(name for name in heavy if name in sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
