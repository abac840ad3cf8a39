"""What a script trains with now is read off its help; what that does not show is not guessed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from batchlab.commands.trained_with_now import trained_with_now

_SCRIPT = """
import argparse
p = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
p.add_argument("--bs", type=int, default=48, help="examples in a batch")
p.add_argument("--lr", type=float, default=3e-4, help="rate")
p.add_argument("--seed", type=int, help="none")
p.parse_args()
open("trained", "w")
"""
BOTH = {"batch_size", "learning_rate"}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(_SCRIPT)
    return [sys.executable, "-S", "train.py"]


def test_the_defaults_of_its_flags_are_what_it_trains_with(script: list[str]) -> None:
    command = [*script, "--bs", "{batch_size}", "--lr={learning_rate}", "--seed", "{seed}"]

    assert trained_with_now(command, BOTH) == {"batch_size": 48, "learning_rate": 3e-4}
    assert trained_with_now(command, {"learning_rate"}) == {"learning_rate": 3e-4}
    assert not Path("trained").exists()


def test_what_is_not_wanted_or_not_there_runs_nothing(script: list[str]) -> None:
    assert trained_with_now([*script, "{batch_size}"], {"learning_rate"}) == {}
    assert trained_with_now(["no-such-program", "--bs", "{batch_size}"], set()) == {}


def test_a_default_that_the_help_does_not_show_is_not_guessed(script: list[str]) -> None:
    Path("train.py").write_text(
        _SCRIPT.replace("formatter_class=", "").replace(
            "argparse.ArgumentDefaultsHelpFormatter", ""
        )
    )

    assert trained_with_now([*script, "--bs", "{batch_size}"], BOTH) == {}
