from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_study

from batchlab.report.cells import observations_table


def test_every_number_of_every_trial_is_one_row():
    study = made_up_study(batch_sizes=(64,), seeds=2, epochs=3)

    table = observations_table(study)

    scores = sum(len(e.scores) for record in study.records for e in record.evaluations)
    others = sum(2 for record in study.records for e in record.evaluations if e.step)
    assert len(table.rows) == scores + others


def test_a_row_carries_the_value_and_the_equal_time():
    study = made_up_study(batch_sizes=(64,), epochs=3, step_s=lambda batch_size: 0.002)
    keys = [column.key for column in observations_table(study).columns]

    last = [dict(zip(keys, row, strict=True)) for row in observations_table(study).rows][-8]

    assert (last["split"], last["metric"]) == ("train", "accuracy")
    assert last["value"] == study.records[0].final("train", "accuracy")
    assert last["equal_time_s"] == pytest.approx(0.002 * study.records[0].steps)


def test_a_trial_without_evaluations_is_not_missing():
    study = made_up_study(batch_sizes=(64,))
    empty = replace(study.records[0], evaluations=(), status=None)

    table = observations_table(replace(study, records=(empty,)))

    assert [row[0] for row in table.rows] == [empty.trial.trial_id]


def test_what_is_measured_under_a_name_that_nobody_knows_is_a_row_too():
    study = made_up_study(batch_sizes=(64,), epochs=1)
    (record,) = study.records
    last = replace(record.evaluations[-1], measured=(("parameter_norm", 7.5),))

    table = observations_table(replace(study, records=(replace(record, evaluations=(last,)),)))

    assert [row[-3:] for row in table.rows if row[-2] == "parameter_norm"] == [
        (None, "parameter_norm", 7.5)
    ]
