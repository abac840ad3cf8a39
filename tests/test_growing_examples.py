"""The examples of growing batches: short, and in each framework the plan's steps and rates."""

import importlib.util
import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from tests.reference.example_commands import EXAMPLES

GROWING = EXAMPLES / "growing"
# What each needs, its first rate, and whether the night runs it.
FRAMEWORKS = {
    "plain": ((), 0.01, False),
    "on_accelerate": (("accelerate",), 0.01, False),
    "on_lightning": (("lightning",), 0.01, False),
    "on_keras": (("keras",), 0.01, True),
    "on_transformers": (("transformers", "accelerate"), 0.001, True),
}


def test_there_is_one_for_each_framework() -> None:
    assert {path.stem for path in GROWING.glob("*.py")} == set(FRAMEWORKS)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_it_is_short_and_says_how_it_is_run(name: str) -> None:
    lines = (GROWING / f"{name}.py").read_text().splitlines()

    head = list(takewhile(lambda line: line != '"""', lines[1:]))
    assert len(lines) <= 60
    assert head[-1].endswith(f"python examples/growing/{name}.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.nightly if at_night else ())
        for name, (_, _, at_night) in FRAMEWORKS.items()
    ],
)
def test_it_takes_the_steps_of_the_plan_at_its_rates(name: str, tmp_path: Path) -> None:
    needed, rate, _ = FRAMEWORKS[name]
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: pip install {' '.join(needed)}")

    done = subprocess.run(
        [sys.executable, str(GROWING / f"{name}.py")],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    # From 8 to 32 examples, as the root: twice the rate.
    assert said == f"39 steps of 39, the last at rate {2 * rate:g}"
