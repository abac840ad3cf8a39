"""An edited script is never answered from old trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.reference.training_script import training_script

from batchlab.launching.command_identity import command_identity


def test_the_identity_follows_the_script_and_what_lies_beside_it(tmp_path: Path) -> None:
    command = training_script(tmp_path)
    first = command_identity(command)
    assert command_identity(command) == first

    (tmp_path / "model.py").write_text("width = 64")
    with_model = command_identity(command)
    (tmp_path / "model.py").write_text("width = 65")
    edited = command_identity(command)
    (tmp_path / "results.csv").write_text("1,2")

    assert len({first, with_model, edited}) == 3
    assert command_identity(command) == edited


def test_the_identity_follows_the_packages_beside_the_script(tmp_path: Path) -> None:
    command = training_script(tmp_path)
    package = tmp_path / "nets" / "deep"
    package.mkdir(parents=True)
    (tmp_path / "nets" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("layers = 2")
    first = command_identity(command)

    (package / "__init__.py").write_text("layers = 3")

    assert command_identity(command) != first


def test_the_identity_follows_arguments_and_configuration(tmp_path: Path) -> None:
    command = training_script(tmp_path)
    other = replace(command, arguments=(*command.arguments, "--width", "64"))
    (tmp_path / "c.json").write_text('{"x": {seed}}')
    template = replace(command, arguments=(*command.arguments, "{config}"), config=Path("c.json"))
    before = command_identity(template)
    (tmp_path / "c.json").write_text('{"y": {seed}}')

    found = {command_identity(command), command_identity(other), before}

    assert len({*found, command_identity(template)}) == 4
