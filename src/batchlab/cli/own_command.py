"""Own command: a user's training command, after `--` or in batchlab.toml, and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchlab.app.arguments import read
from batchlab.cli.options import Invocation
from batchlab.errors import UsageError

_RUN_FILE = Path("batchlab.toml")
# The options that state facts about a training command.
OWN_COMMAND = "metric better examples batch_size learning_rate pattern config devices"


def with_own_command(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options; a training command of the user becomes the option `workload`.

    Options that are missing on the command line are read from batchlab.toml.
    """
    context = click.get_current_context()
    command, file, arguments = str(context.info_name), _run_file(context), context.obj.own_command
    if file is not None:
        is_open = {name for name in options if not _is_given(context, name)}
        options = options | {name: file[name] for name in is_open & file.keys()}
        if "command" not in file:
            raise UsageError(
                "the file has no command; add one, such as command = ['python', 'train.py', "
                "'--batch-size', '{batch_size}']"
            )
        arguments = file["command"]
    names = OWN_COMMAND.split()
    facts = {name: options[name] for name in names if options[name] is not None}
    others = {name: value for name, value in options.items() if name not in names}
    if arguments is None:
        _refuse_options_without_command(context, facts)
        return others
    if file is None and _is_given(context, "workload"):
        raise UsageError(
            "a workload and a command after -- were given: both say what to train; give one of "
            "the two"
        )
    # A sweep does not depend on which of its learning rates is the reference, so use the first.
    if rates := others.get("learning_rates"):
        facts.setdefault("learning_rate", rates[0])
    if "metric" not in facts and command == "profile":
        # A profile needs a metric only to recognize evaluations, so any metric name will do.
        facts |= {"metric": "loss", "better": "lower"}
    from batchlab.app.asked_once import completed

    facts |= {"arguments": tuple(arguments), "epochs": others.get("epochs")}
    if file is not None:
        facts["folder"] = file.get("cwd")
    others["workload"] = completed(context.obj.command_line, command, facts, others)
    return others


def _refuse_options_without_command(context: click.Context, facts: dict[str, Any]) -> None:
    if not facts:
        return
    name = next(iter(facts))
    option = name.replace("_", "-")
    meant = f"; did you mean --{option}s?" if f"{name}s" in context.params else ""
    raise UsageError(
        f"--{option} is for a training command after --, such as -- python train.py --batch-size "
        f"{{batch_size}}, and none was given{meant}"
    )


def _run_file(context: click.Context) -> dict[str, Any] | None:
    """Read the .toml file given as the workload, else batchlab.toml; None if neither is used."""
    invocation: Invocation = context.obj
    if invocation.own_command is not None:
        return None
    named = str(context.params["workload"])
    if named.endswith(".toml"):
        path = Path(named)
    elif _is_given(context, "workload") or not _RUN_FILE.exists():
        return None
    else:
        path = _RUN_FILE
    from batchlab.script.run_file import read_run_file

    values, command = read_run_file(path), str(context.info_name)
    for name in values.keys() & {param.name for param in context.command.params}:
        try:
            values[name] = read(command, name, values[name])
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
    return values


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
