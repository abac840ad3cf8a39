"""Flags by the help that argparse, click, absl, Hydra, Typer and HfArgumentParser print."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchlab.script.flags import MULTIPLIERS, Flag, ScriptCode, flags_in

HELP = Path(__file__).parent / "help"


# What each help shows: the value, its flag, and its default if there is one.
HELPS = """
argparse: batch_size --batch-size 64, learning_rate --lr 1.0, seed --seed 1, epochs --epochs 14, output_dir --output
click: batch_size --batch-size 32, learning_rate --lr 0.001, seed --seed, steps --max-steps, output_dir --out
absl: batch_size --batch_size 128, learning_rate --learning_rate 0.1, seed --seed 0, output_dir --workdir /tmp/x
hf: batch_size --per_device_train_batch_size 8, learning_rate --learning_rate 5e-05, seed --seed 42, epochs --num_train_epochs 3.0, steps --max_steps -1, output_dir --output_dir None, resume_from --resume_from_checkpoint None
hydra: batch_size data.batch_size 128, learning_rate optimizer.lr 0.001, seed seed 0, epochs trainer.max_epochs 30
typer: batch_size --batch-size 64, learning_rate --lr 0.001, epochs --epochs 10
"""  # noqa: E501


@pytest.mark.parametrize("row", HELPS.strip().split("\n"), ids=lambda row: row.partition(":")[0])
def test_the_flags_are_found_in_the_help_of(row: str) -> None:
    name, _, expected = row.partition(": ")

    flags = flags_in((HELP / f"{name}.txt").read_text("utf-8"))

    found = {value: (flag.name, flag.default) for value, flag in flags.items()}
    rows = [cells.split() for cells in expected.split(", ")]
    assert found == {value: (flag, *default, None)[:2] for value, flag, *default in rows}


@pytest.mark.parametrize("text", ["", "step 1 loss 0.5\n", "--go   on", "-" * 5000, "(" * 99])
def test_a_text_without_flags_has_none(text: str) -> None:
    assert flags_in(text) == {}


def test_a_flag_with_two_values_is_drafted_with_both() -> None:
    text = "  --batch-size TRAIN VAL  batch sizes (default: [32, 256])\n  --lr LR  (default: 0.1)\n"

    flags = flags_in(text)

    assert flags["batch_size"].default == "32"
    assert flags["batch_size"].arguments("batch_size") == ("--batch-size", "{batch_size}", "256")
    assert flags["learning_rate"].others == ()
    assert Flag(name="-b").arguments("batch_size") == ("-b", "{batch_size}")
    assert Flag(name="bs").arguments("batch_size") == ("bs={batch_size}",)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--gradient_accumulation_steps", "4", "--lr", "8"], ("--gradient_accumulation_steps 4",)),
        (["trainer.accumulate_grad_batches=2"], ("trainer.accumulate_grad_batches=2",)),
        (["--devices=1", "--gpus"], ()),
        (
            ["torchrun", "--nproc-per-node", "2", "train.py"],
            ("--nproc-per-node 2", "--accum_iter 4"),
        ),
        (["train.py", "--accum-iter", "{accumulation_steps}"], ()),
        (["train.py"], ("--accum_iter 4",)),
    ],
)
def test_what_multiplies_a_batch_is_found_in_a_command_and_its_code(
    arguments: list[str], found: tuple[str, ...], tmp_path: Path
) -> None:
    code = "p.add_argument('--accum-iter', default=4)\np.add_argument('--devices', default=1)"
    (tmp_path / "train.py").write_text(code)

    flags = ScriptCode(arguments, tmp_path).flags_set(MULTIPLIERS)

    assert tuple(each.removesuffix(" (the default)") for each in flags) == found
