import re
import shlex
import subprocess
import sys

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
    "advise": "--objective --target --budget --batch-sizes --epochs --at-most-epochs "
    "--margin --memory-limit --profile --set --sampling --drop-last --device "
    f"--trainer --store --report --json --quiet --explain --require {CLUSTER} {OWN_COMMAND}",
    "sweep": "--batch-sizes --learning-rates --seeds --epochs --steps --target --margin --set "
    "--sampling --scaling-rule --drop-last --micro-batch-size --measure --plan --budget --store "
    f"--report --json --quiet --device --trainer {CLUSTER} {OWN_COMMAND}",
    "profile": f"--batch-sizes --set --memory-limit --budget --json --quiet --device {OWN_COMMAND}",
    "noise": "--steps --set --memory-limit --budget --json --quiet --device",
    "check": "--set --budget --json --quiet --device",
    "fit": "--json",
    "report": "--store --study --format --report",
    "compare": "--store --json",
    "weights": "--store --study --output",
    "workloads": "--json",
    "mcp": "",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_a_command_has_exactly_these_options_and_explains_each(command, do):
    params = [p for p in cli.batchlab.commands[command].params if isinstance(p, click.Option)]

    done = do(command, "--help")

    names = {name for param in params for name in (*param.opts, *param.secondary_opts)}
    assert names == set(OPTIONS[command].split())
    assert (done.code, done.err) == (0, "")
    assert names <= set(re.findall(r"--[a-z-]+", done.out))
    assert all(param.help for param in params)
    if "--batch-sizes" in names:  # what is shown as a value can be typed: FULL would be refused
        assert "--batch-sizes 64,256,full " in done.out
        assert "--budget 90s|5m|1h30m " in done.out


def test_without_arguments_the_commands_are_shown_on_one_screen(do):
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


def test_help_loads_neither_torch_nor_a_plotting_library():
    # By either name: click keeps a command's help option as it was first asked for.
    code = (
        "import sys; from batchlab.cli import main as cli\n"
        "codes = [cli._exit_code(['sweep', '-h'])]\n"
        "codes += [cli._exit_code(a.split()) for a in ('--help', 'sweep --help')]\n"
        "heavy = ('torch', 'numpy', 'vl_convert', 'rich', 'msgspec', 'asyncio')\n"
        "print(codes, [m for m in heavy if m in sys.modules])"
    )

    said = subprocess.check_output([sys.executable, "-c", code], text=True)

    assert said.splitlines()[-1] == "[0, 0, 0] []"


@pytest.mark.parametrize(
    ("typed", "raised", "code", "told"),
    [
        (
            "sweep 'my train.py:workload' --epochs 3",
            KeyboardInterrupt(),
            130,
            "interrupted; everything so far is stored. To go on: batchlab {}",
        ),
        # Measured in one go: nothing of it is kept.
        ("check my.py:it", KeyboardInterrupt(), 130, "interrupted. To go on: batchlab {}"),
        ("workloads", cli.BatchlabError("a line\nand more"), 1, "error: a line"),
    ],
)
def test_what_ends_a_command_is_told_in_one_line(typed, raised, code, told, do, monkeypatch):
    def end(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(cli.batchlab, "main", end)

    done = do(*shlex.split(typed))

    assert (done.code, done.err) == (code, told.format(typed) + "\n")
