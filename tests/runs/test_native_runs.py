"""Runs trained by what was built for their workload, and by PyTorch where that can't be."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.reference.made_up_study import store_with_study
from tests.reference.small_workloads import points, small_trial, small_workload
from tests.reference.told import Told
from torch import nn

from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.run import RunLength, RunRequest, TrainerName
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import RunPlan, run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import _WORTH_A_BUILD, LocalWorkers
from batchlab.store.store import Store
from batchlab.workload.definition import Workload

WORKLOAD = small_workload(n=_WORTH_A_BUILD)

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler"
)


def ran(
    store: Store,
    workload: Workload,
    *lengths: int,
    trainer: TrainerName = "fastest",
    listener: Told | None = None,
) -> TrialRecord:
    """One trial, asked for so many steps and then for so many."""
    plan = RunPlan(
        trial=small_trial(workload, batch_size=32),
        device="cpu",
        listener=listener or Told(),
        started_s=0.0,
        budget_s=None,
        step_s={32: 0.001},
        trainer=trainer,
    )
    for steps in lengths:
        engine = ProcessEngine(store, plan, LocalWorkers(PackedWorkload(workload), plan))
        trial = engine.trial(batch_size=32, learning_rate=0.05, seed=0)
        (record,) = run_all(engine, [RunRequest(trial=trial, length=RunLength(steps=steps))])
    return record


@needs_compiler
@pytest.mark.slow
def test_a_run_agrees_with_pytorchs_and_goes_on_from_its_checkpoint_bit_for_bit(
    store: Store, tmp_path: Path
) -> None:
    x, labels = points(20, seed=1)
    # Validation data of another type are evaluated by PyTorch.
    workload = replace(WORKLOAD, validation=(x, labels.to(torch.uint8)))
    plain = ran(store, workload, 200, trainer="plain")
    with store_with_study(tmp_path / "at_once.db") as other:
        at_once = ran(other, workload, 200)
    with store_with_study(tmp_path / "in_two.db") as other:
        in_two = ran(other, workload, 37, 200)

    assert (at_once.engine, plain.engine) == ("native", "plain")
    assert in_two.resumed_from_steps == (37,)
    last = at_once.evaluations[-1].scores
    assert last == in_two.evaluations[-1].scores
    for score, right in zip(last, plain.evaluations[-1].scores, strict=True):
        assert (score.split, score.metric) == (right.split, right.metric)
        assert score.value == pytest.approx(right.value, abs=1e-4)


class Rounded(nn.Module):
    """A model that branches on what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x if x.sum() > 0 else x.abs())


@pytest.mark.parametrize(
    "why", ["no compiler", pytest.param("a model that branches", marks=pytest.mark.slow)]
)
def test_what_cannot_be_built_is_trained_by_pytorch_with_a_line_that_says_why(
    store: Store, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = WORKLOAD
    if why == "no compiler":
        monkeypatch.setattr("batchlab.runs.workers._build_in_child", _without_compiler)
    else:
        workload = replace(WORKLOAD, model=Rounded)
    listener = Told()

    record = ran(store, workload, 20, listener=listener)

    assert record.engine == "plain"
    assert record.steps == 20
    (line,) = [told for told in listener.warnings if "PyTorch's own loop" in told]
    assert ("C compiler" in line) == (why == "no compiler")


def _without_compiler(line: object, packed: PackedWorkload, trial: object) -> object:
    from batchlab.training.native import build
    from batchlab.training.trainers import built_for

    build.compiler_of_this_machine = lambda: None  # type: ignore[assignment]
    return built_for(packed.unpack(), trial)  # type: ignore[arg-type]
