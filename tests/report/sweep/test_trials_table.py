from __future__ import annotations

import pytest
from tests.reference.made_up import made_up_study

from batchlab.records.trial import Status
from batchlab.report.sweep_tables import trials_table
from batchlab.report.table import Table


def rows_of(table: Table) -> list[dict[str, object]]:
    keys = [column.key for column in table.columns]
    return [dict(zip(keys, row, strict=True)) for row in table.rows]


def test_a_row_says_what_was_asked_what_came_out_and_the_gap():
    study = made_up_study(batch_sizes=(64,))
    record = study.records[0]

    (row,) = rows_of(trials_table(study))

    assert row["trial_id"] == record.trial.trial_id
    assert row["status"] == "ok"
    assert row["test_accuracy"] == record.final("test", "accuracy")
    assert row["generalization_gap"] == pytest.approx(
        record.final("train", "accuracy") - record.final("test", "accuracy")
    )
    assert row["peak_bytes"] == 50_000_000


def test_a_plateau_is_given_with_its_epoch_and_its_reason():
    (row,) = rows_of(trials_table(made_up_study(batch_sizes=(16,), epochs=30)))

    assert row["plateau"] == "reached"
    assert 1 <= row["plateau_epoch"] <= 30
    assert "epoch" in row["plateau_reason"]


def test_a_trial_that_ended_badly_keeps_its_status_and_reason():
    study = made_up_study(
        batch_sizes=(64,), endings={(64, 0.01, 0): (Status.OOM, "needed 9 GB of 8", 2)}
    )

    (row,) = rows_of(trials_table(study))

    assert (row["status"], row["reason"], row["epochs"]) == ("oom", "needed 9 GB of 8", 2)


def test_a_trial_without_a_status_has_not_ended():
    study = made_up_study(batch_sizes=(64,), endings={(64, 0.01, 0): (None, None, 2)})

    (row,) = rows_of(trials_table(study))

    assert row["status"] == "unfinished"


def test_a_diagnosis_is_given_with_its_evidence():
    study = made_up_study(batch_sizes=(1024,), epochs=8)

    (row,) = rows_of(trials_table(study))

    assert "not enough epochs" in row["diagnosis"]
    assert "more epochs should bring" in row["diagnosis_reason"]


def test_nothing_found_is_said_of_a_healthy_trial_only_when_all_rules_could_look():
    healthy = made_up_study(batch_sizes=(16,), epochs=30)
    blind = made_up_study(batch_sizes=(16,), epochs=30, n_validation=0)

    assert rows_of(trials_table(healthy))[0]["diagnosis"] == "nothing found"
    assert rows_of(trials_table(blind))[0]["diagnosis"] == "can't tell all"
    assert "overfitting" in rows_of(trials_table(blind))[0]["diagnosis_reason"]
