"""What engines that train do with a trial that is trained elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.reference.command_engine import command_engine
from tests.reference.local_engine import engine_on
from tests.reference.made_up_study import store_with_study
from tests.reference.training_script import training_script

from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status
from batchlab.runs.contract import Engine
from batchlab.store.store import Store


@pytest.fixture(params=["plain", "command"])
def engine(request: pytest.FixtureRequest, packed: PackedWorkload, tmp_path: Path) -> Engine:
    if request.param == "command":
        return command_engine(training_script(tmp_path), tmp_path)
    return engine_on(store_with_study(tmp_path / "lab.db"), packed)


def test_a_trial_that_another_process_trains_is_waited_for(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = engine.trial(batch_size=10, learning_rate=0.1, seed=0)
    slept_s = []
    with Store(tmp_path / "lab.db") as other, ExitStack() as held:
        assert held.enter_context(other.claim(trial.trial_id))
        monkeypatch.setattr("time.sleep", lambda s: (slept_s.append(s), held.close()))
        engine.submit(RunRequest(trial=trial, length=RunLength(steps=4)))
        end = engine.next_finished()

    assert engine.capabilities.side_by_side or engine.n_workers == 1
    assert len(slept_s) > 0
    assert (end.record.status, end.record.steps) == (Status.OK, 4)
