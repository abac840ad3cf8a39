"""Strangers' scripts whose progress is not in plain lines: read rightly, or refused with a way."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
BRIEF = ("--batch-sizes", "32,128", "--learning-rates", "0.02", "--budget", "20s")


def swept(do: Any, metric: str, script: str, *arguments: str, n_examples: int = 2000) -> Any:
    examples = ("--examples", str(n_examples))
    command = ("--", sys.executable, str(SCRIPTS / script), *arguments)
    return do("sweep", "--json", "--metric", metric, *examples, *BRIEF, *command)


BS = ("--bs", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "script", "arguments", "n_epochs"),
    [
        ("val acc", "one_name.py", BS, 3),
        ("val_acc", "csv_only.py", (*BS, "--out", "{output_dir}"), 8),
    ],
)
def test_each_epoch_is_read(
    metric: str, script: str, arguments: tuple[str, ...], n_epochs: int, do: Any
) -> None:
    done = swept(do, metric, script, *arguments)

    assert done.code == 0, done.err
    study = json.loads(done.out)
    assert [trial["status"] for trial in study["trials"]] == ["ok", "ok"]
    assert all(metric in trial["final"]["validation"] for trial in study["trials"])
    with closing(sqlite3.connect("batchlab.db")) as store:
        counts = "SELECT count(*) FROM evaluations GROUP BY trial_id"
        assert store.execute(counts).fetchall() == [(n_epochs,), (n_epochs,)]


@pytest.mark.slow
def test_one_name_for_training_and_test_is_asked_about(do: Any) -> None:
    done = swept(do, "acc", "one_name.py", *BS)

    assert done.code == 1
    assert "'train Acc' and 'val Acc': give the one that is meant" in done.err


FOLDS = ("--batch_size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "said"),
    [("Fold", "'Fold 1/5' was printed: .* one fold"), ("", "epoch 1 came again: .* one fold")],
)
def test_folds_are_named_and_what_to_do(word: str, said: str, do: Any) -> None:
    done = swept(do, "val_acc", "cv_folds.py", *FOLDS, "--word", word, n_examples=800)

    assert done.code == 1
    assert re.search(said, done.err)
