"""Options: the arguments of `batchlab.app.arguments` as options of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from batchlab.app.arguments import ArgumentKind, TypedText, argument_of, help_of
from batchlab.errors import UsageError

CLUSTER = "engine address cpus_per_trial gpus_per_trial"


class Parsed(click.ParamType[object]):
    """A type of options that converts texts by a `TypedText`; `--help` shows its `name`."""

    def __init__(self, text: TypedText) -> None:
        """Take conversion and name from `text`."""
        self.name = text.shown
        self._text = text

    def get_metavar(self, param: object, ctx: object = None) -> str:
        """Return the name unchanged: in click's capitals, examples like `90s` would be invalid."""
        return self.name

    def convert(self, value: object, param: object, ctx: object) -> object:
        """Convert a text; return anything else, such as a default, unchanged."""
        if not isinstance(value, str):
            return value
        try:
            return self._text.read(value)
        except UsageError:
            raise
        except ValueError:
            option = param.opts[0] if isinstance(param, click.Parameter) else "value"
            raise UsageError(f"{option} {value}: expected {self._text.expected}") from None


def takes(names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the named arguments to the command's function, in this order, as options."""

    def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
        command = function.__name__
        for name in reversed(names.split()):
            argument = argument_of(command, name)
            assert argument is not None, name
            flag = argument.flag or f"--{name.replace('_', '-')}"
            settings: dict[str, Any] = {"help": help_of(command, name)}
            if argument.kind is bool:
                settings["is_flag"] = True
            else:
                settings["type"] = _type(argument.kind)
                settings["multiple"] = argument.is_repeated
            if argument.default is not None:
                settings |= {"default": argument.default, "show_default": True}
            if name == "settings":
                settings["callback"] = _each_once
            function = click.option(flag, name, **settings)(function)
        return function

    return with_options


def _type(kind: ArgumentKind) -> click.ParamType[Any]:
    if isinstance(kind, TypedText):
        return Parsed(kind)
    if isinstance(kind, tuple):
        return click.Choice(kind)
    if kind is Path:
        return click.Path(path_type=Path)
    return click.STRING


def _each_once(
    _context: click.Context, _parameter: click.Parameter, settings: tuple[tuple[str, Any], ...]
) -> dict[str, Any]:
    """Return the settings by name, and refuse a name that was given twice."""
    by_name: dict[str, Any] = {}
    for name, value in settings:
        if name in by_name:
            raise UsageError(
                f"setting {name!r} was given twice, as {by_name[name]} and as {value}; give it "
                f"once, and another command for the other value"
            )
        by_name[name] = value
    return by_name


workload = click.argument("workload", default="mnist-mlp")


def with_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options, with `cluster` (None: this machine) in place of a cluster's options."""
    engine, *names = CLUSTER.split()
    others = {name: value for name, value in options.items() if name not in CLUSTER.split()}
    of_cluster = {name: options[name] for name in names if options[name] is not None}
    if options[engine] == "ray":
        from batchlab.runs.cluster import Cluster

        return others | {"cluster": Cluster(**of_cluster)}
    for name in of_cluster:
        raise UsageError(f"--{name.replace('_', '-')} is for --engine ray; give both")
    return others | {"cluster": None}
