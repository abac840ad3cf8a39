"""The answers on the recorded grids are those that benchmarks/results holds, all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.nightly
def test_regret_gives_the_recorded_answers(tmp_path: Path) -> None:
    out = tmp_path / "regret.json"

    subprocess.run(
        [sys.executable, "benchmarks/regret.py", "--out", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )

    assert out.read_text() == (ROOT / "benchmarks" / "results" / "regret.json").read_text()
