"""The README's own commands for a model of one's own, run whole as a reader would run them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.reference.example_commands import NAMES, commands

ROOT = Path(__file__).parents[2]


def run(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "batchlab", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.nightly
def test_the_example_is_advised_within_its_budget_and_again_at_once(tmp_path: Path) -> None:
    arguments = ("advise", f"{ROOT}/examples/train.py:workload", "--budget", "3m", "--json")

    started_s = time.monotonic()
    first = json.loads(run(*arguments, folder=tmp_path))
    spent_s = time.monotonic() - started_s
    again_s = time.monotonic()
    second = json.loads(run(*arguments, folder=tmp_path))
    again_s = time.monotonic() - again_s

    n_runs = len(first["trials"])
    print(f"{first['verdict']} in {spent_s:.0f} s, {n_runs} runs; again in {again_s:.1f} s")
    assert spent_s < 185
    assert second["recommendation"] == first["recommendation"]
    assert again_s < spent_s / 4


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_an_examples_own_commands_take_a_minute_each(name: str, tmp_path: Path) -> None:
    for command in commands(name):
        started_s = time.monotonic()
        words = [f"{ROOT}/{word}" if word.startswith("examples/") else word for word in command]
        found = json.loads(run(*words, "--json", folder=tmp_path))
        spent_s = time.monotonic() - started_s
        print(f"{name}: {command[0]} in {spent_s:.0f} s", found.get("verdict", ""))
        assert spent_s < 62  # a budget is a ceiling; Python itself starts before it
        assert found["trials"]


@pytest.mark.nightly
def test_the_sweep_of_the_readme_trains_every_cell(tmp_path: Path) -> None:
    arguments = (
        *("sweep", f"{ROOT}/examples/train.py:workload", "--batch-sizes", "16,64,256,full"),
        *("--learning-rates", "0.03,0.1", "--epochs", "10", "--seeds", "2", "--json"),
    )

    document = json.loads(run(*arguments, folder=tmp_path))

    assert len(document["trials"]) == 16
    assert {trial["status"] for trial in document["trials"]} <= {"ok", "diverged", "nan"}
