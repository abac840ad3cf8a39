"""What docs/architecture.md says of adding one more: one file or one row, and nothing else.

Each folder of tests/extension is given to a registry as a second one; `src` is not touched.
"""

import math
from pathlib import Path
from types import ModuleType

import pytest
from tests.extension.measurements import MORE, largest_weight

from batchlab.app.report import stored
from batchlab.app.sweep import sweep
from batchlab.measure import at_steps, measurements
from batchlab.plans.scaling import SCALING_RULES, ScalingRule, scaling_rule
from batchlab.records.study import Study
from batchlab.report.sweep_page import html_page, sweep_files
from batchlab.workload import builtin
from batchlab.workload.loading import describe_workloads

FOLDER = Path(__file__).parent / "extension"


def extend(monkeypatch: pytest.MonkeyPatch, registry: ModuleType, folder: str) -> None:
    """Give `registry` the rows of tests/extension/`folder` beside its own."""
    monkeypatch.setattr(registry, "__path__", [*registry.__path__, str(FOLDER / folder)])


@pytest.mark.slow
def test_a_file_more_is_a_workload_more(monkeypatch, tmp_path):
    extend(monkeypatch, builtin, "workloads")

    study = sweep("two-points", batch_sizes=(1, 2), epochs=1, store=tmp_path / "lab.db")

    assert "two-points" in [row["name"] for row in describe_workloads()]
    assert [record.trial.batch_size for record in study.records] == [1, 2]
    assert all(record.ended_well for record in study.records)


@pytest.mark.slow
def test_a_row_more_is_a_scaling_rule_more(monkeypatch, tmp_path):
    monkeypatch.setitem(SCALING_RULES, "cube-root", ScalingRule(rate_factor=math.cbrt))

    rate = 0.1 * scaling_rule("cube-root").rate_factor(64 / 8)
    study = sweep(
        "least-squares",
        batch_sizes=(8,),
        scaling_rule="cube-root",
        steps=1,
        store=tmp_path / "lab.db",
    )

    assert rate == pytest.approx(0.2)
    assert study.records[0].trial.scaling_rule == "cube-root"


def with_more_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "MEASUREMENTS", (*measurements.MEASUREMENTS, *MORE))
    monkeypatch.setitem(at_steps.AT_STEP, "largest_weight", largest_weight)


@pytest.mark.slow
def test_a_row_more_is_a_measurement_more(monkeypatch, tmp_path):
    with_more_measurements(monkeypatch)

    sweep("least-squares", batch_sizes=(8,), steps=4, store=tmp_path / "lab.db")

    study = stored(tmp_path / "lab.db", None)
    assert isinstance(study, Study)
    last = study.records[0].evaluations[-1]
    norm = dict(last.measured)["largest_weight"]
    assert last.step == 4
    assert norm is not None
    assert norm > 0
    assert f"largest_weight,{norm}" in sweep_files(study)["observations"].to_csv()
    assert "largest weight" in html_page(study)
