"""What each batch size of a command costs, by running it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reference.told import Told
from tests.reference.training_script import training_script

from batchlab.app.budget import Budget
from batchlab.app.subject import profile_of_command
from batchlab.measure.profile import Profile

# Four steps of at least two milliseconds and an evaluation of ten times that, an epoch.
EPOCHS = """
import time
for epoch in range(1, 10**6):
    for step in range(4):
        began = time.perf_counter()
        while time.perf_counter() - began < 0.002: pass
    time.sleep(0.08)
    print(f"epoch {epoch} step {4 * epoch} val_loss {1 / epoch}")
"""


def profiled(folder: Path, source: str, listener: Told) -> Profile:
    return profile_of_command(
        training_script(folder, source=source),
        batch_sizes=[16],
        memory_limit_bytes=None,
        budget=Budget("20s"),
        listener=listener,
    )


@pytest.mark.slow
def test_step_times_that_hold_evaluations_are_said_to_with_what_to_do(tmp_path: Path) -> None:
    told = Told()

    made = profiled(tmp_path, EPOCHS, told)

    (warning,) = [text for text in told.warnings if "evaluations" in text]
    assert "the step times of batch size 16 hold the script's evaluations" in warning
    assert "Print progress several times between two evaluations" in warning
    assert Profile.from_json(made.to_json()).points[0].with_evaluations
