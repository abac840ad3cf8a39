"""A rate far too small for what is trained: nothing races to the untrained level."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.mark.nightly
def test_house_prices_at_a_rate_far_too_small_are_said_to_be_hardly_learned(do: Any) -> None:
    for name in ("net.py", "prices.py"):
        shutil.copy(SCRIPTS / name, name)
    own = ("--metric", "val_mse", "--examples", "600", "--batch-size", "10")
    asked = ("--learning-rate", "0.005", "--batch-sizes", "10,64", "--budget", "20s")
    trained = ("--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")

    done = do("advise", *own, *asked, "--", sys.executable, "prices.py", *trained)

    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert said.startswith("Your configuration hardly learns: after ")
    assert "learning rate 0.005 0.02" not in said  # four times as fast to a level of no worth
