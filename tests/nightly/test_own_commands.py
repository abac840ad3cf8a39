"""The examples of own commands, swept; those of a framework need it in this environment."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.reference.example_commands import EXAMPLES

# What each needs, its metric, its options, and the last step of two epochs of 32 and of 128.
FRAMEWORKS = {
    "plain_pytorch": (
        (),
        "val_loss",
        "--batch-size={batch_size} --lr={learning_rate} --seed={seed} --epochs=4",
        (250, 64),
    ),
    "hugging_face": (
        ("transformers", "accelerate"),
        "eval_loss",
        "--per_device_train_batch_size={batch_size} --learning_rate={learning_rate} --seed={seed} "
        "--output_dir={output_dir} --num_train_epochs=3",
        (126, 32),
    ),
    "keras_fit": (
        ("keras", "jax"),
        "val_loss",
        "--batch-size={batch_size} --lr={learning_rate} --seed={seed}",
        (250, 64),
    ),
    "lightning_trainer": (
        ("lightning",),
        "val_loss",
        "--batch-size={batch_size} --lr={learning_rate} --seed={seed}",
        (250, 64),
    ),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_output_of_an_example_is_followed_in_a_sweep(name: str, tmp_path: Path) -> None:
    needed, metric, options, steps = FRAMEWORKS[name]
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: pip install {' '.join(needed)}")
    given = ["--metric", metric, "--learning-rate", "0.001", "--batch-sizes", "32,128"]
    given += ["--batch-size", "32", "--epochs", "2", "--json", "--"]
    script = [sys.executable, f"{EXAMPLES}/commands/{name}.py", *options.split()]

    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "batchlab", "sweep", *given, *script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    print(f"{name}: {len(trials)} trials in {time.monotonic() - began_s:.0f} s")
    assert [trial["status"] for trial in trials] == ["ok", "ok"]
    for trial, last in zip(trials, steps, strict=True):
        assert trial["steps"] == last
        assert trial["final"]["validation"][metric] > 0
