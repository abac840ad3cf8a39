"""A training command: what is refused before anything runs, and what it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.reference.training_script import training_script

from batchlab.errors import UsageError
from batchlab.script.command import TrainingCommand

WHOLE = ("python", "train.py", "--bs", "{batch_size}", "--lr", "{learning_rate}")


def command(**fields: Any) -> TrainingCommand:
    usual: dict[str, Any] = {"arguments": WHOLE, "metric": "val_loss", "learning_rate": 0.1}
    return TrainingCommand(**{**usual, **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arguments": ("python", "train.py"), "learning_rate": None}, "{batch_size}"),
        ({"arguments": ("python", "--bs", "{batchsize}")}, "did you mean {batch_size}"),
        ({"metric": "score"}, "--better higher"),
        ({"learning_rate": None}, "give --learning-rate"),
        ({"learning_rate": -1.0}, "above 0"),
        ({"arguments": ("python", "--bs", "{batch_size}")}, "has no {learning_rate}"),
        ({"batch_size": 0}, "at least 1"),
        ({"examples": 1.5}, "at least 1"),
        ({"config": Path("nowhere.yaml")}, "nowhere.yaml"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_to_do(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        command(**fields)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("more", "spans"), [((), False), (("--epochs", "{epochs}"), True)])
def test_a_length_that_it_takes_may_shape_its_rate(more: tuple[str, ...], spans: bool) -> None:
    assert command(arguments=(*WHOLE, *more)).spans_a_length == spans


def test_the_arguments_have_the_values_and_the_folder(tmp_path: Path) -> None:
    given = training_script(tmp_path, "--out", "{output_dir}")

    filled = given.filled(
        {"batch_size": 32, "learning_rate": 0.05, "seed": 3},
        folder=tmp_path,
        output_dir=tmp_path / "out",
    )

    assert filled[0] == sys.executable
    assert filled[-8:] == [
        *("--batch-size", "32", "--lr", "0.05"),
        *("--seed", "3", "--out", str(tmp_path / "out")),
    ]
    assert filled.count("3") == 1


def test_a_configuration_file_is_copied_with_the_values(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"bs": {batch_size}, "lr": {learning_rate}}')
    given = TrainingCommand(
        arguments=("python", "train.py", "{config}"),
        metric="val_loss",
        learning_rate=0.1,
        config=Path("c.json"),
        folder=tmp_path,
    )
    (tmp_path / "trial").mkdir()

    filled = given.filled(
        {"batch_size": 32, "learning_rate": 0.05}, folder=tmp_path / "trial", output_dir=tmp_path
    )

    assert Path(filled[-1]).read_text() == '{"bs": 32, "lr": 0.05}'
