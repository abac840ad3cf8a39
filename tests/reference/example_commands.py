"""The command lines that an example tells its reader, and what batchlab takes them for."""

import ast
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from batchlab.cli import main as cli

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
REAL = sorted(f"real/{path.stem}" for path in EXAMPLES.glob("real/*.py"))


def commands(name: str) -> list[list[str]]:
    """The words of each command after `batchlab`; the file is named as it is from the root."""
    told = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()), clean=True)
    lines = (told or "").replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("    batchlab ")]


def understood(words: Sequence[str]) -> dict[str, Any]:
    """The values of a command line, without `batchlab`; nothing is run.

    It is asked as a command of its group: click keeps what options a command has for help.
    """
    group = click.Context(cli.batchlab, **cli.batchlab.context_settings)
    own, _ = cli._apart(list(words))
    return cli.batchlab.commands[own[0]].make_context(own[0], own[1:], parent=group).params
