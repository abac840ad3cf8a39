"""A study put into a store, here or by other processes at the same time."""

import subprocess
import sys
from pathlib import Path

from tests.reference.made_up import made_up_study

from batchlab.records.study import Study, StudyName
from batchlab.records.trial import Evaluation, Score
from batchlab.store.store import Store

ROOT = Path(__file__).parents[2]
STUDY = made_up_study(batch_sizes=(64, 256), epochs=3)
WORKLOAD = STUDY.workload
RECORD = STUDY.records[0]
TRIAL_ID = RECORD.trial.trial_id


def name_of(study: Study) -> StudyName:
    return StudyName(
        study_id=study.study_id,
        command=study.command,
        workload_id=study.workload.workload_id,
        environment=study.environment,
        trial_ids=tuple(record.trial.trial_id for record in study.records),
        target=study.target,
        margin=study.margin,
    )


def put_asked(store: Store, study: Study) -> None:
    """A study that is asked for, of which no trial has begun."""
    store.put_workload(study.workload)
    store.put_study(name_of(study))


def put_study(store: Store, study: Study) -> None:
    put_asked(store, study)
    for record in study.records:
        store.put_record(record)
    for timing in study.timings:
        store.put_timing(timing)


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs the code with the names of this module at hand."""
    head = "import sys; from tests.reference.stored_study import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def run_at_once(processes: list[subprocess.Popen[str]]) -> list[int]:
    """Let them go when all have said that they are ready; their exit codes."""
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.wait() for process in processes]


def an_evaluation(step: int, value: float = 0.5) -> Evaluation:
    return Evaluation(
        step=step,
        samples=64 * step,
        train_s=0.1 * step,
        eval_s=0.01 * step,
        batch_loss=value,
        measured=(("distance", value),),
        scores=(Score(split="validation", metric="loss", value=value),),
    )
