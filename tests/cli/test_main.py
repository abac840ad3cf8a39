from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import click
import pytest

from batchlab.cli import main as cli
from batchlab.version import __version__

# A frozen list: a new option is a decision, taken here.
# Of a training command that is given after `--`.
OWN_COMMAND = (
    "--metric --better --examples --batch-size --learning-rate --pattern --config --devices"
)
CLUSTER = "--engine --address --cpus-per-trial --gpus-per-trial"
OPTIONS = {
    "advise": "--objective --target --budget --trainings --batch-sizes --epochs --at-most-epochs "
    "--tune --train-time --margin --memory-limit --profile --set --sampling --drop-last --device "
    f"--trainer --store --report --json --quiet --explain --require {CLUSTER} {OWN_COMMAND}",
    "sweep": "--batch-sizes --learning-rates --seeds --epochs --steps --target --margin --set "
    "--sampling --scaling-rule --drop-last --micro-batch-size --measure --plan --budget --store "
    f"--report --json --quiet --device --trainer {CLUSTER} {OWN_COMMAND}",
    "profile": f"--batch-sizes --set --memory-limit --budget --json --quiet --device {OWN_COMMAND}",
    "noise": "--steps --per-layer --branches --set --memory-limit --budget --report --json --quiet "
    "--device",
    "check": "--set --budget --json --quiet --device",
    "fit": "--json",
    "init": "",
    "report": "--store --study --format --report --live",
    "compare": "--store --json",
    "weights": "--store --study --output",
    "workloads": "--json",
    "completion": "",
    "mcp": "",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_a_command_has_exactly_these_options_and_explains_each(command: str, do: Any) -> None:
    params = [p for p in cli.batchlab.commands[command].params if isinstance(p, click.Option)]

    done = do(command, "--help")

    names = {name for param in params for name in (*param.opts, *param.secondary_opts)}
    assert names == set(OPTIONS[command].split())
    assert (done.code, done.err) == (0, "")
    assert names <= set(re.findall(r"--[a-z-]+", done.out))
    assert all(param.help for param in params)


@pytest.mark.parametrize("command", ["advise", "sweep", "profile"])
def test_what_help_shows_as_a_value_can_be_typed(command: str, do: Any) -> None:
    shown = do(command, "--help").out

    assert "--batch-sizes 64,256,full " in shown  # FULL would be refused
    assert "--budget 90s|5m|1h30m " in shown


def test_without_arguments_the_commands_are_shown_on_one_screen(do: Any) -> None:
    done = do()

    lines = do("--help").out.splitlines()
    assert done.code == 0
    assert done.out.splitlines() == lines
    assert set(cli.batchlab.commands) == set(OPTIONS)
    assert all(command in done.out for command in OPTIONS)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert [line for line in lines[1:] if line.endswith("...")] == []
    assert do("--version").out == f"batchlab {__version__}\n"


def last_line(code: str) -> str:
    """Of what a process prints that runs this after importing the command line."""
    code = f"import sys; from batchlab.cli import main as cli\n{code}"
    return subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1]


def test_help_loads_neither_torch_nor_a_plotting_library() -> None:
    heavy = ("torch", "numpy", "vl_convert", "rich", "msgspec")

    # By either name: click keeps a command's help option as it was first asked for.
    said = last_line(
        "codes = [cli._exit_code(a.split()) for a in ('sweep -h', '--help', 'sweep --help')]\n"
        f"print(codes, [m for m in {heavy} if m in sys.modules])"
    )

    assert said == "[0, 0, 0] []"


def test_a_command_loads_no_other_commands_file() -> None:
    said = last_line(
        "cli._exit_code(['workloads', '--help'])\n"
        "print([name for name in cli.COMMANDS if f'batchlab.cli.{name}' in sys.modules])"
    )

    assert said == "['workloads']"


def test_a_message_of_many_lines_is_cut_to_its_first(do: Any, monkeypatch: Any) -> None:
    def fail(*_: object, **__: object) -> None:
        raise cli.BatchlabError("what happened\nand much more")

    monkeypatch.setattr(cli.batchlab, "main", fail)

    assert do("workloads").err == "error: what happened\n"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("sweep 'my train.py:workload' --epochs 3", "interrupted; everything so far is stored."),
        ("profile mine.py:workload", "interrupted."),  # measured in one go: nothing of it is kept
    ],
)
def test_an_interrupt_says_how_to_go_on(typed: str, told: str, do: Any, monkeypatch: Any) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.batchlab, "main", interrupt)

    done = do(*shlex.split(typed))

    assert (done.code, done.err) == (130, f"{told} To go on: batchlab {typed}\n")
