"""Flags by the help that argparse, click, absl, Hydra, Typer and HfArgumentParser print."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchlab.script.flags import Flag, flags_in

HELP = Path(__file__).parent / "help"


def found(name: str) -> dict[str, tuple[str, str | None]]:
    flags = flags_in((HELP / f"{name}.txt").read_text("utf-8"))
    return {placeholder: (flag.name, flag.default) for placeholder, flag in flags.items()}


def test_the_flags_of_argparse() -> None:
    assert found("argparse") == {
        "batch_size": ("--batch-size", "64"),
        "learning_rate": ("--lr", "1.0"),
        "seed": ("--seed", "1"),
        "epochs": ("--epochs", "14"),
        "output_dir": ("--output", None),
    }


def test_the_flags_of_click() -> None:
    assert found("click") == {
        "batch_size": ("--batch-size", "32"),
        "learning_rate": ("--lr", "0.001"),
        "seed": ("--seed", None),
        "steps": ("--max-steps", None),
        "output_dir": ("--out", None),
    }


def test_the_flags_of_absl() -> None:
    assert found("absl") == {
        "batch_size": ("--batch_size", "128"),
        "learning_rate": ("--learning_rate", "0.1"),
        "seed": ("--seed", "0"),
        "output_dir": ("--workdir", "/tmp/x"),
    }


def test_the_flags_of_the_parser_of_hugging_face() -> None:
    assert found("hf") == {
        "batch_size": ("--per_device_train_batch_size", "8"),
        "learning_rate": ("--learning_rate", "5e-05"),
        "seed": ("--seed", "42"),
        "epochs": ("--num_train_epochs", "3.0"),
        "steps": ("--max_steps", "-1"),
        "output_dir": ("--output_dir", "None"),
        "resume_from": ("--resume_from_checkpoint", "None"),
    }


def test_the_settings_of_hydra_are_overridden_by_their_paths() -> None:
    assert found("hydra") == {
        "batch_size": ("data.batch_size", "128"),
        "learning_rate": ("optimizer.lr", "0.001"),
        "seed": ("seed", "0"),
        "epochs": ("trainer.max_epochs", "30"),
    }


def test_boxes_around_the_help_are_seen_through() -> None:
    assert found("typer") == {
        "batch_size": ("--batch-size", "64"),
        "learning_rate": ("--lr", "0.001"),
        "epochs": ("--epochs", "10"),
    }


@pytest.mark.parametrize("text", ["", "step 1 loss 0.5\n", "--go   on", "-" * 5000, "(" * 99])
def test_a_text_without_flags_has_none(text: str) -> None:
    assert flags_in(text) == {}


@pytest.mark.parametrize(
    ("flag", "arguments"),
    [
        (Flag(name="--lr"), ("--lr={learning_rate}",)),
        (Flag(name="-b"), ("-b", "{learning_rate}")),
        (Flag(name="optimizer.lr", is_override=True), ("optimizer.lr={learning_rate}",)),
    ],
)
def test_a_flag_is_given_as_its_kind_is_typed(flag: Flag, arguments: tuple[str, ...]) -> None:
    assert flag.arguments("learning_rate") == arguments
