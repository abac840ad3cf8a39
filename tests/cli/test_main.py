from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
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
def test_a_command_has_exactly_these_options(command: str) -> None:
    options = {
        name
        for parameter in cli.batchlab.commands[command].params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }

    assert options == set(OPTIONS[command].split())


@pytest.mark.parametrize("name", ["-h", "--help"])
def test_help_is_asked_for_by_either_name(name: str) -> None:
    # In a process of its own: click keeps a command's help option as it was first asked for.
    command = [sys.executable, "-m", "batchlab", "sweep", name]

    assert "--batch-sizes" in subprocess.check_output(command, text=True)


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_and_default_is_explained(command: str, do: Any) -> None:
    done = do(command, "--help")

    assert (done.code, done.err) == (0, "")
    assert set(OPTIONS[command].split()) <= set(re.findall(r"--[a-z-]+", done.out))
    silent = [
        parameter.name
        for parameter in cli.batchlab.commands[command].params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []


@pytest.mark.parametrize("command", ["advise", "sweep", "profile"])
def test_what_help_shows_as_a_value_can_be_typed(command: str, do: Any) -> None:
    shown = do(command, "--help").out

    assert "--batch-sizes 64,256,full " in shown  # FULL would be refused
    assert "--budget 90s|5m|1h30m " in shown


def test_without_arguments_the_commands_are_shown(do: Any) -> None:
    done = do()

    assert done.code == 0
    assert set(cli.batchlab.commands) == set(OPTIONS)
    assert all(command in done.out for command in OPTIONS)


def test_help_fits_on_one_screen_and_cuts_no_sentence(do: Any) -> None:
    lines = do("--help").out.splitlines()

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert [line for line in lines[1:] if line.endswith("...")] == []


def test_the_version_is_told(do: Any) -> None:
    assert do("--version").out == f"batchlab {__version__}\n"


def test_help_loads_neither_torch_nor_a_plotting_library() -> None:
    heavy = ("torch", "numpy", "vl_convert", "rich", "msgspec")
    code = (
        "import sys; from batchlab.cli import main as cli\n"
        "code = max(cli._exit_code(['--help']), cli._exit_code(['sweep', '--help'])); "
        f"print(code, [m for m in {heavy} if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_command_loads_no_other_commands_file() -> None:
    code = (
        "import sys; from batchlab.cli import main as cli\n"
        "cli._exit_code(['workloads', '--help'])\n"
        "print([name for name in cli.COMMANDS if f'batchlab.cli.{name}' in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "['workloads']"


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


def test_it_says_what_it_found_and_what_to_add(
    do: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "help").write_text("#!/bin/sh\necho '  --batch-size N  examples (default: 8)'\n")
    (tmp_path / "help").chmod(0o755)

    done = do("init", "--", "./help")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "Wrote batchlab.toml. Edit it before you use it.",
        "Found: --batch-size (batch_size).",
        "Not found, add what your script has: {learning_rate}, {seed}, {epochs}, {steps}, "
        "{output_dir}, {resume_from}.",
        "Name your metric, and which values of it are better.",
    ]
    assert do("init", "--", "./help").code == 2
