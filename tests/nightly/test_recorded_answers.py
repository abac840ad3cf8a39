"""The answers on the recorded grids are those that benchmarks/results holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# All answers take half an hour.
WORKLOADS, PROFILE, N_DRAWS = ("mlp-narrow", "tabular"), "cpu", 3


def rows(path: Path) -> list[dict[str, Any]]:
    document = json.loads(path.read_text())
    return [dict(zip(document["columns"], answer, strict=True)) for answer in document["answers"]]


@pytest.mark.nightly
def test_regret_gives_the_recorded_answers(tmp_path: Path) -> None:
    out = tmp_path / "regret.json"
    command = [sys.executable, "benchmarks/regret.py", "--out", str(out)]
    command += ["--workloads", *WORKLOADS, "--profiles", PROFILE, "--draws", str(N_DRAWS)]

    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    recorded = [
        row
        for row in rows(ROOT / "benchmarks" / "results" / "regret.json")
        if row["workload"] in WORKLOADS and row["profile"] == PROFILE and row["draw"] < N_DRAWS
    ]
    assert rows(out) == recorded
