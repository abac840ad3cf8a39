from __future__ import annotations

import csv

from tests.reference.made_up import made_up_study

from batchlab.report import write_csv


def test_two_files_are_joined_by_the_trial(tmp_path):
    study = made_up_study(batch_sizes=(64, 256), epochs=2)

    trials, observations, *_ = write_csv(study, tmp_path / "report.csv")

    assert (trials.name, observations.name) == ("report.csv", "report-observations.csv")
    ids = {record.trial.trial_id for record in study.records}
    assert {row["trial_id"] for row in csv.DictReader(trials.open())} == ids
    assert {row["trial_id"] for row in csv.DictReader(observations.open())} == ids
