"""A study's trainings as runs of MLflow, beside a team's other runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from batchlab.errors import MissingLibraryError
from batchlab.records.study import Study
from batchlab.records.trial import Status, TrialRecord
from batchlab.report.output_file import OutputFileError
from batchlab.words.numbers import english_number
from batchlab.words.reasons import reason_text

_TRIAL, _STEPS, _STATUS = "batchlab.trial_id", "batchlab.steps", "batchlab.status"
_MOST_METRICS = 1000  # that MLflow takes at a time
_NAMES_OF_METRICS = re.compile(r"[^\w\-. :/]")
_ENDS = {Status.OK: "FINISHED", Status.TARGET_REACHED: "FINISHED", Status.KILLED: "KILLED"}


def log_to_mlflow(study: Study) -> str:
    """Log each training as a run, with its curve; what is there already is completed.

    Where to is MLflow's own question: `MLFLOW_TRACKING_URI`, or its default. The experiment is
    called after the workload. MLflow has no clock for a training that shared its machine with
    others: its times are those of training and evaluation, from the beginning of the study on.

    Returns:
        What was logged where, in a line.

    Raises:
        MissingLibraryError: MLflow is not installed.
        OutputFileError: MLflow refuses.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingLibraryError(
            "format mlflow needs MLflow, which is not installed: pip install mlflow"
        ) from error
    name = f"batchlab {study.workload.name}"
    try:
        uri, client = mlflow.get_tracking_uri(), mlflow.MlflowClient()
        experiment = client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else client.create_experiment(name)
        known = {run.data.tags[_TRIAL]: run for run in _runs(client, place)}
        changed = [
            record
            for record in study.records
            if record.evaluations and _log(client, place, study, record, known)
        ]
    except MlflowException as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise OutputFileError(f"MLflow: {lines[0]}") from error
    return f"{len(changed)} of {len(study.records)} trainings logged to {name!r} at {uri}\n"


def _runs(client: Any, experiment_id: str) -> Iterator[Any]:
    token = None
    while True:
        runs = client.search_runs([experiment_id], page_token=token)
        yield from (run for run in runs if _TRIAL in run.data.tags)
        token = runs.token
        if not token:
            return


def _log(
    client: Any, experiment_id: str, study: Study, record: TrialRecord, known: dict[str, Any]
) -> bool:
    """Log what is not there of a training; whether anything was not."""
    from mlflow.entities import Metric, Param, RunTag

    trial, status = record.trial, str(record.status or "unfinished")
    begun_ms = int(1000 * datetime.fromisoformat(study.created_at).timestamp())
    run = known.get(trial.trial_id)
    tags = {} if run is None else run.data.tags
    logged = int(tags.get(_STEPS, -1))
    if (tags.get(_STEPS), tags.get(_STATUS)) == (str(record.steps), status):
        return False
    if run is None:
        rate = english_number(trial.learning_rate, "rate")
        run = client.create_run(
            experiment_id,
            start_time=begun_ms,
            run_name=f"batch size {trial.batch_size}, rate {rate}, seed {trial.seed}",
            tags={_TRIAL: trial.trial_id, "batchlab.command": study.command},
        )
        params = [Param(key, str(value)) for key, value in _params(record)]
        client.log_batch(run.info.run_id, params=params)
    metrics = [
        Metric(key, value, begun_ms + round(1000 * seconds), step)
        for step, seconds, key, value in _metrics(record)
        if step > logged
    ]
    for start in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + _MOST_METRICS])
    last = record.evaluations[-1]
    said = reason_text(record.reason)
    client.log_batch(
        run.info.run_id,
        tags=[
            RunTag(_STEPS, str(record.steps)),
            RunTag(_STATUS, status),
            *([RunTag("batchlab.reason", said)] if said else []),
        ],
    )
    end_ms = begun_ms + round(1000 * (last.train_s + last.eval_s))
    if record.status is not None:
        client.set_terminated(run.info.run_id, _ENDS.get(record.status, "FAILED"), end_ms)
    return True


def _params(record: TrialRecord) -> Iterator[tuple[str, object]]:
    trial = record.trial
    for name in ("batch_size", "micro_batch_size", "learning_rate", "seed", "scaling_rule"):
        yield name, getattr(trial, name)
    yield "device", trial.devices
    yield "place", record.place or "not told"
    yield "trainer", record.engine
    yield from ((f"setting.{name}", value) for name, value in trial.settings)


def _metrics(record: TrialRecord) -> Iterator[tuple[int, float, str, float]]:
    """Step, seconds since the training began, name and value of all that was seen and is finite."""
    for seen in record.evaluations:
        values = {f"{score.split}_{score.metric}": score.value for score in seen.scores}
        values |= {"batch_loss": seen.batch_loss, "train_s": seen.train_s, **dict(seen.measured)}
        for name, value in values.items():
            if value is not None:
                key = _NAMES_OF_METRICS.sub("_", name)
                yield seen.step, seen.train_s + seen.eval_s, key, value
