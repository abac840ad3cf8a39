"""A script with the weights, order and marks of the in-process workload tells the same curves."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference import mnist_script
from tests.reference.made_up import made_up_trial
from tests.reference.made_up_study import made_up_summary
from tests.reference.told import Told

from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Target, TrialRecord
from batchlab.runs.commands import CommandEngine
from batchlab.runs.contract import Engine, RunPlan, run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import LocalWorkers
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.workload.builtin import mnist_mlp
from batchlab.workload.given_data import tensors_of

N_TRAIN = 2000
BATCH_SIZES = (40, 96)  # the second leaves a smaller last batch in each epoch
LEARNING_RATE = 0.05
TARGET = Target(metric="accuracy", value=0.75, better="higher")
LENGTH = RunLength(epochs=3, until=TARGET, all_splits="never")
COMMAND = TrainingCommand(
    arguments=(
        *(sys.executable, mnist_script.__file__, "--batch-size", "{batch_size}"),
        *("--lr", "{learning_rate}", "--seed", "{seed}", "--epochs", str(LENGTH.epochs)),
        *("--examples", str(N_TRAIN)),
    ),
    metric="accuracy",
    learning_rate=LEARNING_RATE,
)


def plan_of(store: Store, workload_id: str) -> RunPlan:
    """Of trials of a workload, which the store knows then."""
    mnist = {"workload_id": workload_id, "n_train": N_TRAIN}
    store.put_workload(replace(made_up_summary(), **mnist))
    return RunPlan(
        trial=replace(made_up_trial(batch_size=BATCH_SIZES[0]), **mnist),
        step_s=dict.fromkeys(BATCH_SIZES, 0.001),
        device="cpu",
        listener=Told(),
        started_s=0.0,
        budget_s=None,
    )


def records_of(engine: Engine) -> list[TrialRecord]:
    rate = LEARNING_RATE
    trials = [engine.trial(batch_size=b, learning_rate=rate, seed=3) for b in BATCH_SIZES]
    return run_all(engine, [RunRequest(trial=trial, length=LENGTH) for trial in trials])


def told(record: TrialRecord) -> list[tuple[int, int, float | None, float | None]]:
    return [
        (each.step, each.samples, each.score("validation", "accuracy"), each.batch_loss)
        for each in record.evaluations
    ]


@pytest.mark.slow  # torch starts three times
def test_its_curve_and_its_steps_to_target_are_the_very_same(tmp_path: Path) -> None:
    built_in = mnist_mlp.workload()
    workload = replace(
        built_in,
        train=tuple(part[:N_TRAIN] for part in tensors_of(built_in.train)),
        validation=tuple(
            part[: mnist_script.N_VALIDATION] for part in tensors_of(built_in.validation)
        ),
        test=None,
    )
    with Store(tmp_path / "lab.db") as store:
        by_script = records_of(CommandEngine(store, COMMAND, plan_of(store, "script")))
        plan = plan_of(store, "in-process")
        workers = LocalWorkers(PackedWorkload(workload), plan)
        in_process = records_of(ProcessEngine(store, plan, workers))

    for script, right in zip(by_script, in_process, strict=True):
        assert told(script) == told(right)
        assert script.crossing(TARGET) == right.crossing(TARGET)
        assert script.crossing(TARGET).held
        assert script.status is right.status is Status.TARGET_REACHED
