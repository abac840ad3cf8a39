"""The run file, and the flags of a script that a draft of it is made from."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from batchlab.errors import UsageError
from batchlab.script.flags import MULTIPLIERS, Flag, ScriptCode, drafted, flags_in
from batchlab.script.run_file import read_run_file


def read(folder: Path, text: str) -> dict[str, Any]:
    (folder / "batchlab.toml").write_text(text)
    return read_run_file(folder / "batchlab.toml")


WHOLE = """
command = ["python", "train.py", "--bs", "{batch_size}"]
metric = "val_loss"
better = "lower"
examples = 50000
batch-size = 64
learning_rate = 1
batch_sizes = [32, 128, "full"]
learning_rates = [1e-3, 0.003]
seeds = 2
epochs = 10
steps = 100
target = "val_loss=0.4"
budget = "30m"
pattern = 'loss (?P<val_loss>\\S+)'
config = "conf/c.yaml"
cwd = "."
"""


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)

    assert found == tomllib.loads(WHOLE.replace("batch-size", "batch_size")) | {
        "config": (tmp_path / "conf/c.yaml").resolve(),
        "cwd": tmp_path.resolve(),
    }
    assert read(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrik = 'a'", "unknown key 'metrik'; did you mean 'metric'\\?"),
        ("zzz = 1", "there are command, metric, "),
        ("batch_size = 1\nbatch-size = 2", "batch-size is given twice"),
        ("a = 1\nb = [1,\n", r"is not valid TOML: .*\(at "),
        (
            "command = 'python train.py --bs {batch_size}'",
            r"expected a list of texts, as in \['python', 'train.py', '--bs', '\{batch_size\}'\]",
        ),
        ("command = []", "expected a list of texts"),
        ("\udcff", "no text in UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "batchlab.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(UsageError, match=said) as refused:
        read_run_file(file)

    assert "\n" not in str(refused.value)
    assert str(file) in str(refused.value)


# Flags by the help that argparse, click, absl, Hydra, Typer and HfArgumentParser print


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


def test_a_text_without_flags_has_none() -> None:
    assert not any(map(flags_in, ("", "step 1 loss 0.5\n", "--go   on", "-" * 5000, "(" * 99)))


def test_values_typed_behind_another_name_of_a_flag_are_the_own_ones() -> None:
    """`--lr 0.5` stayed in the command next to `--learning-rate=...`, and 0.1 was called yours."""
    shown = (
        "  -b N, --batch-size N  (default: 64)\n  --lr RATE, --learning-rate RATE  (default: 0.1)\n"
    )

    text = drafted(["python", "train.py", "--lr", "0.5", "-b=32"], shown, None).text

    assert "0.5" not in text.partition("metric")[0]
    assert "\nbatch_size = 32\nlearning_rate = 0.5\n" in text


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
        (["torchrun", "--nproc-per-node", "2", "t.py"], ("--nproc-per-node 2", "--accum_iter 4")),
        (["train.py", "--accum-iter", "{accumulation_steps}"], ()),
        (["train.py"], ("--accum_iter 4",)),
    ],
)
def test_what_multiplies_a_batch_is_found_in_a_command_and_its_code(
    arguments: list[str], found: tuple[str, ...], tmp_path: Path
) -> None:
    code = "p.add_argument('--accum-iter', default=4)\np.add_argument('--devices', default=1)"
    (tmp_path / "train.py").write_text(code)
    (tmp_path / "t.py").write_text(code)

    flags = ScriptCode(arguments, tmp_path).flags_set(MULTIPLIERS)

    assert tuple(each.removesuffix(" (the default)") for each in flags) == found
