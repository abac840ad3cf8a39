"""What docs/architecture.md says of adding one more: one file or one row, and nothing else.

Each folder of tests/extension is given to a registry as a second one; `src` is not touched.
"""

import math
from pathlib import Path

import pytest
from tests.app.conftest import about
from tests.extension.measurements import MORE, largest_weight

from batchlab.app.report import stored
from batchlab.app.sweep import sweep
from batchlab.measure import at_steps, measurements
from batchlab.plans.scaling import SCALING_RULES, ScalingRule
from batchlab.report.sweep_page import html_page, sweep_files
from batchlab.workload import builtin
from batchlab.workload.loading import describe_workloads


@pytest.mark.slow
def test_a_file_more_is_a_workload_and_a_row_more_a_measurement(monkeypatch, tmp_path):
    folders = [*builtin.__path__, str(Path(__file__).parent / "extension" / "workloads")]
    monkeypatch.setattr(builtin, "__path__", folders)
    monkeypatch.setattr(measurements, "MEASUREMENTS", (*measurements.MEASUREMENTS, *MORE))
    monkeypatch.setitem(at_steps.AT_STEP, "largest_weight", largest_weight)

    sweep("two-points", batch_sizes=(1, 2), steps=4, store=tmp_path / "lab.db")

    study = stored(tmp_path / "lab.db", None)
    assert "two-points" in [row["name"] for row in describe_workloads()]
    assert [record.trial.batch_size for record in study.records] == [1, 2]
    assert all(record.ended_well for record in study.records)
    last = study.records[0].evaluations[-1]
    norm = dict(last.measured)["largest_weight"]
    assert last.step == 4
    assert norm > 0
    assert f"largest_weight,{norm}" in sweep_files(study)["observations"].to_csv()
    assert "largest weight" in html_page(study)


def test_a_row_more_is_a_scaling_rule_more(monkeypatch):
    monkeypatch.setitem(SCALING_RULES, "cube-root", ScalingRule(rate_factor=math.cbrt))

    subject = about("sweep", "least-squares", batch_sizes=(8, 64), scaling_rule="cube-root")

    rates = [trial.learning_rate for trial in subject.trials]
    assert rates[1] == pytest.approx(2 * rates[0])
    assert {trial.scaling_rule for trial in subject.trials} == {"cube-root"}
