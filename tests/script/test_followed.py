"""A launched training whose progress is read as it comes."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest

from batchlab.script.command import TrainingCommand
from batchlab.script.follow import FollowedTraining

PRINTS = "import os; print(*(os.environ.get(name) for name in ('TTY_COMPATIBLE', 'COLUMNS')))"


def printed(code: str, folder: Path) -> tuple[str, ...]:
    """The last lines of a script of this code."""
    command = TrainingCommand(
        arguments=(sys.executable, "-I", "-S", "-c", code, "{batch_size}"),
        metric="val_loss",
        folder=folder,
    )
    marker = f"followed-{uuid.uuid4().hex}/1"
    with FollowedTraining(command, {"batch_size": 8}, folder=folder / "1", marker=marker) as begun:
        while True:
            _, end = begun.listen(0.25)
            if end is not None:
                return end.last_lines


def test_a_training_is_asked_for_bars_as_on_a_wide_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    assert printed(PRINTS, tmp_path) == ("1 300",)


def test_what_the_user_has_set_reaches_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    monkeypatch.setenv("COLUMNS", "120")

    assert printed(PRINTS, tmp_path) == ("0 120",)
