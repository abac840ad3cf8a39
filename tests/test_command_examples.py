"""The examples of own commands: short, told how to run, and the plain one swept."""

import os
import subprocess
import sys

import pytest
from tests.reference.example_commands import EXAMPLES, commands, understood

from batchlab.script.command import TrainingCommand

COMMANDS = EXAMPLES / "commands"
NAMES = ["hugging_face", "keras_fit", "lightning_trainer", "plain_pytorch", "two_lines"]


def test_there_is_one_for_each_framework() -> None:
    assert sorted(path.stem for path in COMMANDS.glob("*.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_own_command_is_short_and_says_how_to_ask_about_it(name: str) -> None:
    found = commands(f"commands/{name}")

    assert len((COMMANDS / f"{name}.py").read_text().splitlines()) <= 60
    assert [words[0] for words in found][-1] == "advise"
    for words in found:  # that they are understood; the night runs them
        cut = words.index("--")
        assert words[cut + 1 : cut + 3] == ["python", f"examples/commands/{name}.py"]
        given = understood(words)
        TrainingCommand(
            arguments=words[cut + 1 :], metric=given["metric"], learning_rate=given["learning_rate"]
        )


@pytest.mark.slow
def test_the_two_lines_say_nothing_outside_a_study() -> None:
    arguments = [str(COMMANDS / "two_lines.py"), "--batch-size=1000", "--epochs=1"]
    environment = {name: value for name, value in os.environ.items() if "BATCHLAB" not in name}

    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, env=environment
    )

    assert (done.stdout, done.stderr) == ("", "")
