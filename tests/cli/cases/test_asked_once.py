"""What a command of one's own does not say is asked for once, in one line to paste."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "scripts" / "evaluates_each_epoch.py"
OWN = ("--", sys.executable, str(SCRIPT), "--bs", "{batch_size}", "--lr", "{learning_rate}")
LENGTH = ("--epochs", "{epochs}")


@pytest.mark.slow
def test_one_look_finds_all_that_is_missing_and_what_the_script_shows(do: Any) -> None:
    done = do("advise", "--budget", "30s", *OWN, *LENGTH)

    assert done.code == 2
    said, _, paste = done.err.partition(" To paste")
    assert "it printed loss, test_grade" in said
    options = ("--metric", "--better", "--learning-rate", "--epochs")
    assert [option for option in options if f"{option} (" in said] == list(options)
    assert "--batch-size (" not in said  # its code has it
    assert "--examples (" not in said  # its epochs are counted
    assert "in place of lower, 0.001: batchlab advise --budget 30s" in paste
    assert "--metric test_grade --better lower --learning-rate 0.001 --epochs 3" in paste
    assert paste.rstrip().endswith("--lr '{learning_rate}' --epochs '{epochs}'")


def test_the_look_is_at_the_first_batch_size_that_is_asked_for(do: Any) -> None:
    source = "import sys; assert sys.argv[1] == '8'; print('epoch 1 val_loss 0.5')"
    command = ("--", sys.executable, "-c", source, "{batch_size}")

    done = do("sweep", "--batch-sizes", "8,16", "--budget", "30s", *command)

    assert done.code == 2
    assert "it printed val_loss" in done.err


@pytest.mark.slow
def test_a_metric_that_is_not_printed_is_told_with_what_else_is_missing(do: Any) -> None:
    done = do("sweep", "--metric", "val_acc", "--budget", "30s", *OWN)

    assert done.code == 2
    assert done.err.startswith("error: sweep needs --metric (the validation metric that counts; ")
    assert "--learning-rate (" in done.err
    assert "--metric test_grade --better lower" in done.err
    assert "val_acc" not in done.err


@pytest.mark.slow
def test_what_the_script_itself_demands_is_in_the_same_message(ask: Any) -> None:
    takes = ("-b", "{batch_size}", "-lr", "{learning_rate}")

    refused = ask("needs_net.py", "advise", "--budget", "30s", takes=takes)
    done = ask("needs_net.py", "advise", "--budget", "30s", takes=("-net", "vgg16", *takes))

    assert (refused.code, done.code) == (2, 2)
    for option in ("--metric (", "it needs {seed}"):
        assert option in refused.err
        assert option in done.err
    assert "error: the following arguments are required: -net" in refused.err
    assert "it printed Loss, Average loss, Accuracy" in done.err
    assert "--metric Accuracy --" in done.err
