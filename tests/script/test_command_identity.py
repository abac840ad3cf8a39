"""An edited script is never answered from old trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.training_script import training_script

from batchlab.script.command import TrainingCommand
from batchlab.script.identity import command_identity


def test_the_identity_follows_the_script_and_what_lies_beside_it(tmp_path: Path) -> None:
    command = training_script(tmp_path)
    wider = replace(command, arguments=(*command.arguments, "--width", "64"))
    (tmp_path / "c.json").write_text('{"x": {seed}}')
    template = replace(command, arguments=(*command.arguments, "{config}"), config=Path("c.json"))
    found = {*map(command_identity, (command, wider, template))}

    for name, text in {"model.py": "w = 64", "./model.py": "w = 65", "c.json": "{seed}"}.items():
        (tmp_path / name).write_text(text)
        found |= {command_identity(command), command_identity(template)}

    # The command itself has no part of its own template.
    assert len(found) == 3 + 2 + 2 + 1


# A script, a package and a configuration, and scripts that call them.
FILES = """
train.py: import code.model
conf.yaml: width: 64
lib/train.py: import helpers
lib/helpers.py: depth = 1
pkg/__init__.py:
pkg/train.py: import pkg.deep.net
pkg/deep/net.py: depth = 1
plain/train.py: depth = 1
src/inner/__init__.py:
src/inner/net.py: depth = 1
run.sh: python lib/train.py --config conf.yaml $@
start: #!/bin/sh
tools/__init__.py:
tools/pyvenv.cfg:
lab.db.trials/__init__.py:
"""


def command_in(folder: Path, *arguments: str) -> TrainingCommand:
    for line in FILES.strip().split("\n"):
        name, _, text = line.partition(":")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.strip())
    return TrainingCommand(arguments=[*arguments, "{batch_size}"], metric="val_loss", folder=folder)


@pytest.mark.parametrize(
    ("arguments", "edited"),
    [
        (["python", "-m", "pkg.train"], "pkg/deep/net.py"),
        (["python", "-m", "plain.train"], "plain/train.py"),
        (["python", "-m", "inner.net"], "src/inner/net.py"),
        (["torchrun", "--nproc-per-node=2", "-m", "pkg.train"], "pkg/train.py"),
        (["./run.sh"], "train.py"),
        (["./run.sh"], "lib/helpers.py"),
        (["./run.sh"], "conf.yaml"),
        (["./start"], "start"),
        (["bash", "-c", "python train.py --bs $0"], "train.py"),
        (["bash", "-c", "cd . && python lib/train.py --bs $0"], "lib/helpers.py"),
        (["python", "train.py", "--config", "conf.yaml"], "conf.yaml"),
        (["python", "train.py"], "pkg/deep/net.py"),
    ],
)
def test_an_edit_of_the_code_behind_a_command_makes_it_another_one(
    arguments: list[str], edited: str, tmp_path: Path
) -> None:
    command = command_in(tmp_path, *arguments)
    before = command_identity(command)
    assert command_identity(command) == before

    with (tmp_path / edited).open("a") as file:
        file.write("\n# edited")

    assert command_identity(command) != before


def test_what_a_training_writes_does_not_make_it_another_command(tmp_path: Path) -> None:
    command = command_in(tmp_path, "python", "train.py", "--log", "train.log", "--save=model.pt")
    before = command_identity(command)

    for written in (
        *("train.log", "model.pt", "lab.db.trials/1/output/code.py", "pkg/__pycache__/made.py"),
        *("tools/lib/made.py", "outputs/run/made.py"),
    ):
        (tmp_path / written).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / written).write_text("as new")
        assert command_identity(command) == before, written
