"""A script with weights and an order of its own is advised as the workload in process is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference import mnist_script

import batchlab
from batchlab.workload.builtin import mnist_mlp
from batchlab.workload.given_data import tensors_of

N_TRAIN = 10_000
LEARNING_RATE = 0.05
REQUEST = {
    "batch_sizes": (16, 64, 256, 1024),
    "target": ("accuracy", 0.93),
}
# Trainings of a script run one at a time and start for seconds each: 5 min told nothing.
BUDGET, BUDGET_OF_SCRIPT = "5m", "30m"


def script() -> batchlab.TrainingCommand:
    """An ordinary loop that draws its own weights and its own order."""
    return batchlab.TrainingCommand(
        arguments=(
            *(sys.executable, mnist_script.__file__, "--batch-size", "{batch_size}"),
            *("--lr", "{learning_rate}", "--seed", "{seed}", "--epochs", "{epochs}"),
            *("--examples", str(N_TRAIN), "--own-order"),
        ),
        metric="accuracy",
        batch_size=64,
        learning_rate=LEARNING_RATE,
        epochs=30,
    )


def workload() -> batchlab.Workload:
    """The same model, data, optimizer and metric in process."""
    built_in = mnist_mlp.workload()
    return replace(
        built_in,
        train=tuple(part[:N_TRAIN] for part in tensors_of(built_in.train)),
        validation=tuple(
            part[: mnist_script.N_VALIDATION] for part in tensors_of(built_in.validation)
        ),
        test=None,
    )


@pytest.mark.nightly
def test_the_advice_on_a_script_lies_in_the_flat_set_of_the_advice_in_process(
    tmp_path: Path,
) -> None:
    in_process = batchlab.advise(
        workload(), store=tmp_path / "in-process.db", budget=BUDGET, **REQUEST
    )
    by_script = batchlab.advise(
        script(), store=tmp_path / "script.db", budget=BUDGET_OF_SCRIPT, **REQUEST
    )

    named = by_script.recommendation or by_script.provisional
    print(
        f"in process: {in_process.verdict}, flat set {in_process.flat_set}; the script: "
        f"{by_script.verdict}, flat set {by_script.flat_set}, names {named}"
    )
    assert named is not None, by_script
    assert named.batch_size in in_process.flat_set
