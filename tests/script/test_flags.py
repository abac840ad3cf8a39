"""The flags of a command: their defaults in its code, and what it sets above 1."""

import pytest

from batchlab.script.command import plain_flag
from batchlab.script.flags import MULTIPLIERS, defaults_in_code, flags_set


@pytest.mark.parametrize(
    ("code", "typed", "expected"),
    [
        ("p.add_argument('-l', '--lr', default=3e-4, type=float)", "-l", 3e-4),
        ("p.add_argument('--batch-size', nargs=2, default=[32, 256])", "--batch-size", 32),
        ("@click.option('--lr', default=0.5)\ndef main(lr=None): ...", "--lr", 0.5),
        ("def main(lr: float = typer.Option(0.5, '--lr')): ...", "--lr", 0.5),
        ("flags.DEFINE_float('lr', 0.25, 'rate', 1.0)", "--lr", 0.25),
        ("p.add_argument('--lr', type=float)\np.set_defaults(lr=0.5)", "--lr", None),
        ("learning_rate = 6e-4", "--learning_rate", None),
        ("print('batch-size', 3), getattr(given, 'batch_size', 1)", "--batch-size", None),
        ("p.add_argument('--lr', default=BASE * 2)\nlr = 3", "--lr", None),
        ("p.add_argument('--lr', default=1)\np.add_argument('--lr', default=2)", "--lr", None),
        ("p.add_argument('--lr', default=1)\ndef cosine(lr=1.0): ...", "--lr", 1),
        ("p.add_argument('--lr', default=1", "--lr", None),
    ],
)
def test_a_default_is_read_in_the_code_if_only_one_stands_there(code, typed, expected, tmp_path):
    (tmp_path / "train.py").write_text(code)

    defaults = defaults_in_code(["python", "train.py"], tmp_path)

    assert defaults.get(plain_flag(typed)) == expected


def test_a_parser_in_a_module_that_the_script_imports_counts(tmp_path):
    (tmp_path / "train.py").write_text("import options\ndef sgd(lr=0.5, gpus=8): ...")
    (tmp_path / "options.py").write_text("p.add_argument('--lr', default=0.02)")
    (tmp_path / "other.py").write_text("p.add_argument('--lr', default=3)")

    assert defaults_in_code(["python", "train.py"], tmp_path) == {"lr": 0.02}


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
def test_what_multiplies_a_batch_is_found_in_a_command_and_its_code(arguments, found, tmp_path):
    code = "p.add_argument('--accum-iter', default=4)\np.add_argument('--devices', default=1)"
    (tmp_path / "train.py").write_text(code)
    (tmp_path / "t.py").write_text(code)

    flags = flags_set(MULTIPLIERS, arguments, defaults_in_code(arguments, tmp_path))

    assert tuple(each.removesuffix(" (the default)") for each in flags) == found
