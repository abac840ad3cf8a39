"""A stranger's script that prints nothing and writes its progress into a table in a file."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "scripts" / "csv_only.py"
TAKES = ("--bs", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")


@pytest.mark.slow
def test_each_epoch_is_read(do: Any) -> None:
    own = ("--metric", "val_acc", "--examples", "2000", "--learning-rates", "0.02")
    asked = ("--batch-sizes", "32,128", "--budget", "20s", "--json")
    command = ("--", sys.executable, str(SCRIPT), *TAKES, "--out", "{output_dir}")

    done = do("sweep", *own, *asked, *command)

    assert done.code == 0, done.err
    study = json.loads(done.out)
    assert [trial["status"] for trial in study["trials"]] == ["ok", "ok"]
    assert all("val_acc" in trial["final"]["validation"] for trial in study["trials"])
    with closing(sqlite3.connect("batchlab.db")) as store:
        counts = "SELECT count(*) FROM evaluations GROUP BY trial_id"
        assert store.execute(counts).fetchall() == [(8,), (8,)]
