"""What MLflow is told of a study; by a stand-in, and by MLflow itself where that is installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference import recording_mlflow
from tests.reference.made_up import made_up_study

from batchlab.app.report import report
from batchlab.errors import MissingLibraryError, UsageError
from batchlab.records.estimate import Reason
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.report.mlflow_runs import log_to_mlflow
from batchlab.report.output_file import OutputFileError

STUDY = made_up_study(batch_sizes=(64, 256), epochs=3)
NAME = f"batchlab {STUDY.workload.name}"


@pytest.fixture(params=["stand-in", "real"])
def client(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    if request.param == "stand-in":
        yield recording_mlflow.install(monkeypatch)
        return
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("MLflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    import mlflow

    yield mlflow.MlflowClient()


def runs(client: Any) -> list[Any]:
    experiment = client.get_experiment_by_name(NAME).experiment_id
    found = client.search_runs([experiment])
    return sorted(found, key=lambda run: int(run.data.params["batch_size"]))


def curve(client: Any, run: Any, key: str) -> list[tuple[int, float]]:
    history = client.get_metric_history(run.info.run_id, key)
    return [(each.step, each.value) for each in history]


def shorter(study: Study, evaluations: int) -> Study:
    """As it was when its first trial had only begun."""
    first = study.records[0]
    begun = replace(first, status=None, evaluations=first.evaluations[:evaluations])
    return replace(study, records=(begun, *study.records[1:]))


def test_each_training_is_a_run_with_its_configuration_its_curve_and_its_end(client: Any) -> None:
    said = log_to_mlflow(STUDY)
    found = runs(client)

    assert said.startswith("2 of 2 trainings logged to 'batchlab ")
    for run, record in zip(found, STUDY.records, strict=True):
        trial = record.trial
        known = run.data.params
        assert known["batch_size"] == str(trial.batch_size)
        assert known["learning_rate"] == str(trial.learning_rate)
        assert known["device"] == "cpu"
        assert run.info.status == "FINISHED"
        assert run.data.tags["batchlab.trial_id"] == trial.trial_id
        assert curve(client, run, "validation_accuracy") == [
            (seen.step, pytest.approx(value))
            for seen, value in record.curve("validation", "accuracy")
        ]
        assert run.info.end_time - run.info.start_time == pytest.approx(
            1000 * (record.train_s + record.eval_s), abs=1
        )


def test_logged_again_it_adds_only_what_is_new(client: Any) -> None:
    first = log_to_mlflow(shorter(STUDY, 2))
    begun = runs(client)[0]
    status = begun.info.status
    whole = log_to_mlflow(STUDY)
    again = log_to_mlflow(STUDY)

    assert [said.split(" trainings")[0] for said in (first, whole, again)] == [
        "2 of 2",
        "1 of 2",
        "0 of 2",
    ]
    assert status == "RUNNING"
    assert [run.info.status for run in runs(client)] == ["FINISHED"] * 2
    seen = [step for step, _ in curve(client, runs(client)[0], "validation_accuracy")]
    assert seen == [each.step for each in STUDY.records[0].evaluations]


def test_a_bad_end_is_a_failed_run_with_its_reason(client: Any) -> None:
    lost = Reason.of("ended_by_signal", signal="SIGKILL")
    bad = replace(STUDY.records[0], status=Status.ERROR, reason=lost)
    killed = replace(STUDY.records[1], status=Status.KILLED, reason=lost)
    log_to_mlflow(replace(STUDY, records=(bad, killed)))

    assert [run.info.status for run in runs(client)] == ["FAILED", "KILLED"]
    assert runs(client)[0].data.tags["batchlab.reason"] == "SIGKILL ended the process"


def test_long_curves_go_in_parts_and_names_that_mlflow_refuses_are_changed(client: Any) -> None:
    record = STUDY.records[0]
    last = record.evaluations[-1]
    scores = tuple(replace(score, metric="f1@10") for score in last.scores)
    many = tuple(replace(last, step=step, scores=scores) for step in range(400))
    log_to_mlflow(replace(STUDY, records=(replace(record, evaluations=many),)))

    assert len(curve(client, runs(client)[0], "validation_f1_10")) == 400


def test_what_mlflow_refuses_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    client = recording_mlflow.install(monkeypatch)

    def refused(name: str) -> None:
        raise recording_mlflow.MlflowException("no such server\nand a page of words")

    monkeypatch.setattr(client, "get_experiment_by_name", refused)
    with pytest.raises(OutputFileError) as told:
        log_to_mlflow(STUDY)

    assert str(told.value) == "MLflow: no such server"


def test_without_mlflow_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingLibraryError, match="pip install mlflow"):
        log_to_mlflow(STUDY)


def test_a_stored_study_is_logged_and_a_file_for_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tests.reference.stored_study import put_study

    from batchlab.store.store import Store

    recording_mlflow.install(monkeypatch)
    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)

    assert report(tmp_path / "lab.db", output_format="mlflow").text.startswith("2 of 2 trainings")
    with pytest.raises(UsageError, match="set MLFLOW_TRACKING_URI"):
        report(tmp_path / "lab.db", output_format="mlflow", path=tmp_path / "x")
