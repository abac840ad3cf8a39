"""A training command: its placeholders, its file, what is refused, and which it is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.reference.made_up import made_up_trial
from tests.reference.training_script import training_script

from batchlab.errors import UsageError
from batchlab.script.command import (
    PLACEHOLDERS,
    TrainingCommand,
    filled_arguments,
    placeholders_of,
    trial_values,
)
from batchlab.script.identity import command_identity


def filled(*argv: str, **values: object) -> list[str]:
    return filled_arguments(argv, {"batch_size": 32, **values})


@pytest.mark.parametrize(
    ("given", "values", "arguments"),
    [
        ("--out={output_dir}", {"output_dir": Path("/a b/$(rm); 'c'")}, "--out=/a b/$(rm); 'c'"),
        # A count has no point, a number of NumPy no type.
        ("{accumulation_steps}", {"accumulation_steps": np.int64(8)}, "8"),
        ("{epochs}", {"epochs": 3.0}, "3"),
        ("{learning_rate}", {"learning_rate": np.float64(0.1)}, "0.1"),
        # Doubled braces stand for themselves, and those of others pass.
        ("{{batch_size}}", {}, "{batch_size}"),
        ("{{anything}}", {}, "{anything}"),
        ('{"a":{"bs":{batch_size}}}', {}, '{"a":{"bs":32}}'),
        *(
            (text, {}, text)
            for text in ('{"a":{"b":{}}}', "{0}", "{a b}", "${oc.env:HOME}", "{HOME}", "a}}{{b")
        ),
    ],
)
def test_placeholders_become_arguments_and_never_shell_text(given, values, arguments):
    assert filled("{batch_size}", given, **values) == ["32", arguments]


@pytest.mark.parametrize(
    ("argv", "first", "later"),
    [
        (["--resume", "{resume_from}"], [], ["--resume", "/c"]),
        (["+ckpt_path={resume_from}"], [], ["+ckpt_path=/c"]),
        (["--fast", "--resume={resume_from}"], ["--fast"], ["--fast", "--resume=/c"]),
        (["fit", "{resume_from}"], ["fit"], ["fit", "/c"]),
    ],
)
def test_with_nothing_to_resume_from_its_argument_and_flag_are_left_out(argv, first, later):
    assert filled("{batch_size}", *argv, resume_from=None) == ["32", *first]
    assert filled("{batch_size}", *argv, resume_from="/c") == ["32", *later]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{"lr": {learning_rate}, "out": "{output_dir}/log", "from": "{resume_from}"}', json.loads),
        ("lr: {learning_rate}\nout: {output_dir}/log\nfrom: '{resume_from}'", yaml.safe_load),
    ],
)
@pytest.mark.parametrize("rate", [0.1, 1e-05, 2.5e-300, 1e22])
def test_a_configuration_is_read_back_with_the_values(text, read, rate, tmp_path):
    (tmp_path / "c").write_text(text)
    of_file = command(arguments=(*WHOLE, "{config}"), config=Path("c"), folder=tmp_path)
    (tmp_path / "trial").mkdir()

    values = {"batch_size": 32, "learning_rate": rate}
    filled = of_file.filled(values, folder=tmp_path / "trial", output_dir=Path("/a b"))

    found = read(Path(filled[-1]).read_text())
    assert found == {"lr": rate, "out": "/a b/log", "from": ""}


WHOLE = ("python", "train.py", "--bs", "{batch_size}", "--lr", "{learning_rate}")


def command(**fields: Any) -> TrainingCommand:
    usual: dict[str, Any] = {"arguments": WHOLE, "metric": "val_loss", "learning_rate": 0.1}
    return TrainingCommand(**{**usual, **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arguments": ("t", "{batchsize}")}, "unknown placeholder {batchsize}"),
        ({"arguments": ("t", "{bs}")}, "there are {batch_size}, {micro_batch_size}, "),
        ({"arguments": ("t", "{batch_size}", "{zzz}")}, "write {{zzz}}"),
        ({"arguments": ("t", "{batch_size}", "{config}")}, "give both or neither"),
        ({"arguments": ("t.py --bs {batch_size}",)}, "one argument with spaces"),
        (
            {"arguments": ("t", "{micro_batch_size}")},
            "without {accumulation_steps} or {world_size}",
        ),
        ({"devices": 2}, "the command has no {world_size}"),
        ({"devices": 0}, "devices=0: expected a whole number"),
        ({"metric": "score"}, "--better higher"),
        ({"learning_rate": None}, "give --learning-rate"),
        ({"learning_rate": -1.0}, "above 0"),
        ({"batch_size": 0}, "at least 1"),
        ({"examples": 1.5}, "at least 1"),
        ({"config": Path("nowhere.yaml")}, "nowhere.yaml"),
        ({"config": Path("bad.yaml")}, "unknown placeholder {bs} in {place}/bad.yaml: there are"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_to_do(fields, said, tmp_path):
    (tmp_path / "bad.yaml").write_text("b: {bs}")

    with pytest.raises(UsageError) as refused:
        command(folder=tmp_path, **fields)

    assert said.replace("{place}", str(tmp_path)) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro", [16, 64])
def test_what_a_script_is_given_makes_the_batch_on_all_its_devices(world_size, micro):
    trial = made_up_trial(batch_size=64, micro_batch_size=micro, n_train=512)
    given = trial_values(replace(trial, world_size=world_size), last_step=8)
    n, accumulated = given["micro_batch_size"], given["accumulation_steps"]

    assert given["world_size"] == world_size
    assert n * accumulated * world_size == given["batch_size"] == 64


def test_the_arguments_have_the_values_and_the_folder(tmp_path):
    (tmp_path / "c.json").write_text('{"lr": {learning_rate}, "b": {batch_size}}')
    all_of_them = [f"{{{name}}}" for name in PLACEHOLDERS]
    both = {"micro_batch_size", "accumulation_steps"}
    in_template = {"config", "learning_rate", "batch_size"}
    given, place = command(arguments=(*WHOLE, "--out", "{output_dir}")), {"folder": tmp_path}
    values = {"batch_size": 32, "learning_rate": 0.05}

    filled = given.filled(values, **place, output_dir=tmp_path)

    assert placeholders_of(all_of_them, tmp_path / "c.json") == {*PLACEHOLDERS}
    assert placeholders_of([f"{{{name}}}" for name in both], None) == both
    assert placeholders_of(["t", "{config}"], tmp_path / "c.json") == in_template
    assert filled[2:] == ["--bs", "32", "--lr", "0.05", "--out", str(tmp_path)]
    with pytest.raises(UsageError, match=r"no value for \{learning_rate\}"):
        given.filled({"batch_size": 32}, **place, output_dir=tmp_path)


# An edited script is never answered from old trainings


def test_the_identity_follows_the_script_and_what_lies_beside_it(tmp_path):
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
def test_an_edit_of_the_code_behind_a_command_makes_it_another_one(arguments, edited, tmp_path):
    command = command_in(tmp_path, *arguments)
    before = command_identity(command)
    assert command_identity(command) == before

    with (tmp_path / edited).open("a") as file:
        file.write("\n# edited")

    assert command_identity(command) != before


def test_what_a_training_writes_does_not_make_it_another_command(tmp_path):
    command = command_in(tmp_path, "python", "train.py", "--log", "train.log", "--save=model.pt")
    before = command_identity(command)

    for written in (
        *("train.log", "model.pt", "lab.db.trials/1/output/code.py", "pkg/__pycache__/made.py"),
        *("tools/lib/made.py", "outputs/run/made.py"),
    ):
        (tmp_path / written).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / written).write_text("as new")
        assert command_identity(command) == before, written
