from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.reference.made_up import made_up_record, made_up_study

from batchlab.records.study import Study
from batchlab.records.trial import Status, Target
from batchlab.report.sweep_page import SweepDocument, sweep_document
from batchlab.words.document import schema_text

SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "sweep.json"

# The names that scripts rely on (design, "What --json prints"): they may grow, never shrink.
SWEEP = {"schema", "command", "workload", "store", "report", "trials"}
TRIAL = {
    *("trial_id", "status", "engine", "threads", "batch_mode", "batch_size", "micro_batch_size"),
    *("learning_rate", "seed", "epochs", "steps", "samples", "train_s", "eval_s", "peak_bytes"),
    *("target", "steps_to_target", "samples_to_target", "plateau_epoch", "diagnosis", "final"),
    "generalization_gap",
}


def document_of(study: Study, *, report: Path | None = None) -> dict[str, Any]:
    text = sweep_document(study, store=Path("lab.db"), report=report)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document: dict[str, Any] = json.loads(text, parse_constant=refuse)
    jsonschema.validate(document, json.loads(schema_text(SweepDocument)))
    return document


def test_the_schema_file_is_the_schema_of_the_code() -> None:
    assert SCHEMA.read_text() == schema_text(SweepDocument), (
        f"write schema_text(SweepDocument) of batchlab.report.sweep_page into {SCHEMA}"
    )


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text(SweepDocument)))


def test_a_document_has_every_promised_name() -> None:
    document = document_of(made_up_study(), report=Path("out.html"))

    assert set(document) >= SWEEP
    assert all(set(trial) >= TRIAL for trial in document["trials"])
    assert (document["schema"], document["command"]) == (1, "sweep")
    assert (document["store"], document["report"]) == ("lab.db", "out.html")


def test_every_trial_is_in_the_document_in_the_order_of_the_study() -> None:
    study = made_up_study(batch_sizes=(64, 4096), seeds=2)

    trials = document_of(study)["trials"]

    assert [trial["trial_id"] for trial in trials] == [r.trial.trial_id for r in study.records]
    assert {trial["batch_mode"] for trial in trials} == {"mini", "full"}


def test_numbers_are_those_of_the_record() -> None:
    study = made_up_study(batch_sizes=(64,), epochs=4)
    record = study.records[0]

    trial = document_of(study)["trials"][0]

    assert (trial["epochs"], trial["steps"], trial["samples"]) == (4.0, 256, 4 * 4096)
    assert trial["final"]["test"]["accuracy"] == record.final("test", "accuracy")
    assert trial["generalization_gap"] == pytest.approx(
        trial["final"]["train"]["accuracy"] - trial["final"]["test"]["accuracy"]
    )
    assert trial["step_s"] == pytest.approx(5e-4 + 2e-6 * 64)


def test_a_study_without_validation_data_has_no_validation_scores() -> None:
    trial = document_of(made_up_study(n_validation=0))["trials"][0]

    assert set(trial["final"]) == {"train", "test"}


def test_unknown_is_null_and_never_a_number() -> None:
    study = made_up_study(batch_sizes=(64,), timed=False, n_test=0, n_validation=0)
    record = replace(study.records[0], peak_bytes=None, evaluations=())

    trial = document_of(replace(study, records=(record,)))["trials"][0]

    unknown = ("peak_bytes", "step_s", "target", "steps_to_target", "generalization_gap")
    assert [trial[name] for name in unknown] == [None] * len(unknown)
    assert trial["final"] == {}


def test_a_score_that_was_not_finite_is_null() -> None:
    study = made_up_study(batch_sizes=(64,))
    curves = {("train", "accuracy"): lambda epoch: float("nan")}
    record = made_up_record(trial=study.records[0].trial, curves=curves, status=Status.NAN)

    trial = document_of(replace(study, records=(record,)))["trials"][0]

    assert trial["final"] == {"train": {"accuracy": None, "loss": None}}
    assert trial["status"] == "nan"


def test_a_target_comes_with_the_step_that_met_it() -> None:
    study = made_up_study(batch_sizes=(64,))
    target = Target(metric="accuracy", value=0.9, better="higher")
    record = replace(study.records[0], target=target, status=Status.TARGET_REACHED)

    trial = document_of(replace(study, records=(record,), target=target))["trials"][0]

    crossing = record.crossing(target)
    assert crossing is not None
    asked = {"metric": "accuracy", "value": 0.9, "better": "higher", "held_for": 0.1}
    assert trial["target"] == asked
    assert trial["steps_to_target"] == crossing.step > 0
    assert trial["samples_to_target"] == crossing.samples == 64 * crossing.step


def test_a_trial_under_way_is_unfinished() -> None:
    study = made_up_study(batch_sizes=(64,))
    record = replace(study.records[0], status=None)

    assert document_of(replace(study, records=(record,)))["trials"][0]["status"] == "unfinished"


def test_an_overfitting_trial_carries_its_diagnosis() -> None:
    falling = {
        ("train", "loss"): lambda epoch: 2.0 / (1 + epoch),
        ("validation", "loss"): lambda epoch: 1.0 / (1 + epoch) + 0.05 * epoch,
        ("train", "accuracy"): lambda epoch: 1 - 0.9 / (1 + epoch),
        ("validation", "accuracy"): lambda epoch: 0.8 - 0.01 * epoch,
    }
    study = made_up_study(batch_sizes=(64,))
    record = made_up_record(trial=study.records[0].trial, curves=falling)

    trial = document_of(replace(study, records=(record,)))["trials"][0]

    assert "overfitting" in trial["diagnosis"]
