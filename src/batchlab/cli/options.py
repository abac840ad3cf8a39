"""Make the commands' options from `batchlab.app.arguments`, and describe the typed command."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from batchlab.app.arguments import argument_of, flag_of, help_of, read
from batchlab.errors import UsageError

# Work stops this many seconds before the budget ends, to leave time for the results: a page takes 1
# to 2 s on an idle machine and 2 to 4 s on a busy machine. Text takes a fraction of a second, but
# ending the last child process may take 1 s on a busy machine.
_REPORT_RESERVE_S = 4.0
_TEXT_RESERVE_S = 1.7


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """What the user typed to start batchlab, and when; the command that runs can read it."""

    command_line: str  # The typed command, quoted so that it can be pasted into a shell.
    started_s: float  # The start of the process, by `time.monotonic()`.
    # The training command after `--`, with placeholders; None if there is no `--`.
    own_command: tuple[str, ...] | None = None

    def reserved_s(self, budget_s: float | None, report: Path | None) -> float:
        """Return the seconds since the process started plus the seconds for showing the results."""
        to_show_s = _TEXT_RESERVE_S
        if report is not None:
            at_most_s = math.inf if budget_s is None else 0.5 * budget_s
            to_show_s = min(_REPORT_RESERVE_S, at_most_s)
        return time.monotonic() - self.started_s + to_show_s


CLUSTER = "engine address cpus_per_trial gpus_per_trial"


def takes(names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds the arguments `names`, in this order, as a command's options."""

    def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
        command = function.__name__
        for name in reversed(names.split()):
            option = click.option(flag_of(command, name), name, **_settings(command, name))
            function = option(function)
        return function

    return with_options


def _settings(command: str, name: str) -> dict[str, Any]:
    argument = argument_of(command, name)
    settings: dict[str, Any] = {"help": help_of(command, name)}
    if argument.default is not None:
        settings |= {"default": argument.default, "show_default": True}
    if argument.is_switch:
        return settings | {"is_flag": True}
    if argument.choices:
        return settings | {"type": click.Choice(argument.choices)}
    # With the type `click.Path`, shells complete the names of files.
    kind = click.Path() if argument.read is Path else click.STRING
    settings |= {"type": kind, "metavar": argument.shown, "multiple": argument.is_repeated}
    return settings | {"callback": partial(_read, command)}


def _read(command: str, _context: click.Context, option: click.Parameter, value: Any) -> Any:
    return None if value is None else read(command, str(option.name), value)


workload = click.argument("workload", default="mnist-mlp")


def with_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """Replace the options `CLUSTER` by one option: a Cluster, or None to train on this machine."""
    engine, *names = CLUSTER.split()
    others = {name: value for name, value in options.items() if name not in CLUSTER.split()}
    of_cluster = {name: options[name] for name in names if options[name] is not None}
    if options[engine] == "ray":
        from batchlab.runs.cluster import Cluster

        return others | {"cluster": Cluster(**of_cluster)}
    for name in of_cluster:
        raise UsageError(f"--{name.replace('_', '-')} is for --engine ray; give both")
    return others | {"cluster": None}
