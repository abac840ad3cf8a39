"""The registry of measurements: what a row says, and how it reaches a child process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cloudpickle
import pytest
from tests.reference.moments import moment_of
from torch import nn

from batchlab.measure import rows as folder
from batchlab.measure.registry import measured_at_steps, measurement_rows, packed_at_steps
from batchlab.records.quantities import QUANTITIES

EXTENSION = Path(__file__).parents[1] / "extension" / "measurements"


def test_step_time_peak_memory_and_gradient_norm_are_rows() -> None:
    rows = measurement_rows()

    assert {"step_s", "peak_bytes", "gradient_norm", "distance"} <= set(rows)
    assert set(measured_at_steps()) == {
        "gradient_norm",
        "distance",
        "parameter_norm",
        "update_norm",
    }
    assert all(row.cost for row in rows.values())


def test_a_rows_unit_is_the_one_that_the_quantities_say() -> None:
    known = {quantity.name: quantity for quantity in QUANTITIES}

    assert [row.quantity for row in measurement_rows().values()] == [
        known[name] for name in measurement_rows()
    ]


@pytest.mark.parametrize(("over_seeds", "one"), [("mean", 4.0), ("largest", 9.0), ("median", 2.0)])
def test_seeds_are_summed_up_as_the_row_says(over_seeds: str, one: float) -> None:
    row = replace(measurement_rows()["gradient_norm"], over_seeds=over_seeds)  # type: ignore[arg-type]

    assert row.of_seeds([1.0, 9.0, 2.0]) == one


def test_listing_the_rows_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from batchlab.measure.registry import measured_at_steps\n"
        "measured_at_steps(); print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False"]


@pytest.mark.slow
def test_a_row_of_another_folder_reaches_a_process_that_does_not_know_the_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(EXTENSION)])
    code = (
        "import sys, cloudpickle, torch\n"
        "measures = cloudpickle.loads(sys.stdin.buffer.read())\n"
        "model = torch.nn.Linear(2, 1, bias=False)\n"
        "torch.nn.init.constant_(model.weight, 1.0)\n"
        "from tests.reference.moments import moment_of\n"
        "print(*sorted(measures), measures['largest_weight'](moment_of(model)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], input=packed_at_steps(), capture_output=True, check=True
    )

    *names, largest = done.stdout.decode().split()
    own = ["distance", "gradient_norm", "parameter_norm", "update_norm"]
    assert names == sorted([*own, "largest_weight"])
    assert float(largest) == 1.0


def test_packing_leaves_the_rows_picklable_by_name_as_before() -> None:
    before = set(cloudpickle.list_registry_pickle_by_value())  # users' files that were loaded

    packed_at_steps()

    assert set(cloudpickle.list_registry_pickle_by_value()) == before
    assert measured_at_steps()["gradient_norm"](moment_of(nn.Linear(1, 1))) is None
