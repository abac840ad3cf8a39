"""What a script trains with now is read off its help; what that does not show is not guessed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from batchlab.app.init import trained_with_now

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

    assert trained_with_now(command, BOTH, budget_s=None) == {
        "batch_size": 48,
        "learning_rate": 3e-4,
    }
    assert trained_with_now(command, {"learning_rate"}, budget_s=None) == {"learning_rate": 3e-4}
    assert not Path("trained").exists()
    # A default that the help does not show is not guessed.
    silent = _SCRIPT.replace("formatter_class=argparse.ArgumentDefaultsHelpFormatter", "")
    Path("train.py").write_text(silent)
    assert trained_with_now(command, BOTH, budget_s=None) == {}


def test_what_is_not_wanted_or_follows_no_flag_runs_nothing(script: list[str]) -> None:
    assert trained_with_now([*script, "{batch_size}"], {"learning_rate"}, budget_s=None) == {}
    assert trained_with_now(["no-such-program", "--bs", "{batch_size}"], set(), budget_s=None) == {}
    Path("train.py").write_text("open('trained', 'w')")
    assert trained_with_now([*script, "{batch_size}", "{learning_rate}"], BOTH, budget_s=9.0) == {}
    assert not Path("trained").exists()


# As the ImageNet example of PyTorch has them.
_ALIASES = """
import argparse
p = argparse.ArgumentParser()
p.add_argument("-b", "--batch-size", default=256, type=int, metavar="N", help="(default: 256)")
p.add_argument("--lr", "--learning-rate", default=0.1, type=float, help="rate (default: 0.1)")
p.parse_args()
"""


@pytest.mark.parametrize(
    "given",
    [
        ("-b", "{batch_size}", "--lr", "{learning_rate}"),
        ("--batch-size={batch_size}", "--learning-rate={learning_rate}"),
    ],
)
def test_a_flag_is_found_under_any_of_its_names(given: tuple[str, ...], script: list[str]) -> None:
    Path("train.py").write_text(_ALIASES)

    found = trained_with_now([*script, *given], BOTH, budget_s=None)

    assert found == {"batch_size": 256, "learning_rate": 0.1}


def test_a_script_that_does_not_know_help_is_stopped_within_the_budget(script: list[str]) -> None:
    Path("train.py").write_text("import time; open('began', 'w'); time.sleep(60)")
    began_s = time.monotonic()

    assert trained_with_now([*script, "--bs", "{batch_size}"], BOTH, budget_s=1.2) == {}
    assert time.monotonic() - began_s < 10.0
