"""The engine of a command, on a store that knows it."""

import math
import time
from pathlib import Path

from tests.reference.made_up import made_up_summary
from tests.reference.told import Told

from batchlab.records.run import RunLength, RunRequest
from batchlab.records.study import MetricSummary, WorkloadSummary
from batchlab.records.trial import Trial, TrialRecord
from batchlab.runs.commands import CommandEngine
from batchlab.runs.contract import Engine, RunPlan
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store


def command_summary(command: TrainingCommand) -> WorkloadSummary:
    """What a check of the command would find."""
    return made_up_summary(
        workload_id="a-command",
        name=command.name,
        n_train=command.examples or 2000,
        n_validation=None,
        n_parameters=None,
        metrics=(MetricSummary(name=command.metric, better=command.direction),),
        batch_size=command.batch_size,
        learning_rate=command.learning_rate or 1.0,
        takes_rate=command.takes("learning_rate"),
        start_s=0.05,
    )


def command_trial(summary: WorkloadSummary, *, batch_size: int, learning_rate: float) -> Trial:
    of = {"workload_id": summary.workload_id, "workload": summary.name, "n_train": summary.n_train}
    return Trial(**of, batch_size=batch_size, learning_rate=learning_rate, seed=0)


def command_engine(
    command: TrainingCommand,
    folder: Path,
    *,
    budget_s=math.inf,
    horizon_epochs=None,
    listener=None,
    clock=time.monotonic,
) -> CommandEngine:
    """An engine with a store in a folder; its budget counts from 0 of a clock that is given."""
    summary = command_summary(command)
    store = Store(folder / "lab.db")
    store.put_workload(summary)
    trial = command_trial(
        summary, batch_size=command.batch_size, learning_rate=summary.learning_rate
    )
    plan = RunPlan(
        trial=trial,
        step_s={8: 1e-4, 16: 1e-4, 64: 1e-4},
        horizon_epochs=horizon_epochs,
        device="cpu",
        listener=listener or Told(),
        started_s=time.monotonic() if clock is time.monotonic else 0.0,
        budget_s=budget_s,
    )
    engine = CommandEngine(store, command, plan)
    engine._clock = clock
    return engine


def asked(engine: Engine, steps=60, *, batch_size=16, seed=0) -> TrialRecord:
    """What a run that is waited for is stored as."""
    trial = engine.trial(batch_size=batch_size, learning_rate=0.1, seed=seed)
    engine.submit(RunRequest(trial=trial, length=RunLength(steps=steps)))
    return engine.next_finished()[1]


def curve(record: TrialRecord) -> list[tuple[int, float | None]]:
    """Where the metric was told, and what it was."""
    return [(each.step, each.score("validation", "val_loss")) for each in record.evaluations]
