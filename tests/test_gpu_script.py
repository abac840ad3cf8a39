"""scripts/gpu keeps what it has, whatever ends it."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from benchmarks.gpu import ROOT, Part, PartError, Result, run_command, run_parts


@pytest.mark.slow
def test_a_failed_part_stops_no_other_and_none_begins_after_the_time_for_all(tmp_path):
    def fails(limit_s: float) -> Result:
        raise PartError("it is broken")

    def raises(limit_s: float) -> Result:
        raise ZeroDivisionError("by zero")

    def sleeps(limit_s: float) -> Result:
        code, output, _ = run_command(
            [sys.executable, "-c", "import time; print('begun'); time.sleep(60)"], limit_s
        )
        return {"code": code, "output": output}

    measures = (fails, raises, sleeps, lambda limit_s: {"summary": "good"})
    parts = [Part(name=f"{n}", share_s=0.5, measure=measure) for n, measure in enumerate(measures)]
    file = tmp_path / "gpu.jsonl"

    assert not run_parts(parts, file, ends_s=time.monotonic() + 60)
    assert not run_parts(parts, file, ends_s=time.monotonic())
    assert run_parts(parts[2:], file, ends_s=time.monotonic() + 60)

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["part"] for line in lines] == ["0", "1", "2", "3", "2", "3"]
    assert [line.get("error") for line in lines[:4]] == [
        "PartError: it is broken",
        "ZeroDivisionError: by zero",
        None,
        None,
    ]
    assert (lines[2]["code"], lines[2]["output"]) == (None, "begun\n")
    assert lines[3]["summary"] == "good"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_written(tmp_path):
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [ROOT / "scripts" / "gpu", "--out", str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "--cpu" in ended.stderr
    assert not list(tmp_path.iterdir())
