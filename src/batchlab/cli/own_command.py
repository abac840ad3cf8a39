"""Own command: a training command after `--` or in batchlab.toml, and its options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchlab.app.public_call import found_instead
from batchlab.cli import options
from batchlab.cli.invocation import Invocation
from batchlab.errors import UsageError

if TYPE_CHECKING:
    from batchlab.script.command import TrainingCommand

_RUN_FILE = Path("batchlab.toml")
_OPTIONS = (
    click.option(
        "--metric",
        help="With a command of your own: the validation metric that counts, as your script "
        "prints it, such as val_loss. Default of profile: loss.",
    ),
    click.option(
        "--better",
        type=click.Choice(["higher", "lower"]),
        help="Which way --metric improves. Needed where its name does not tell.",
    ),
    click.option(
        "--examples",
        type=options.whole_number(1),
        help="With a command of your own: how many training examples there are. Default: by its "
        "progress, or assumed if that shows no number.",
    ),
    click.option(
        "--batch-size",
        type=options.whole_number(1),
        help="With a command of your own: the batch size that you train with now. Default: "
        "the flag's default, by the script's code or --help. Without one advise asks; others take "
        "the first of --batch-sizes, or 64.",
    ),
    click.option(
        "--learning-rate",
        type=options.number("0.001"),
        help="With a command of your own: the learning rate that you train with now. Default: "
        "the flag's default, by the script's code or --help.",
    ),
    click.option(
        "--pattern",
        help="A regular expression that finds progress in the output, with groups such as "
        "(?P<step>...) and (?P<val_loss>...). Default: progress is known by its shape.",
    ),
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="A configuration file with placeholders. Each training gets a copy with its own "
        "values, at {config}.",
    ),
    click.option(
        "--devices",
        type=options.whole_number(1),
        help="With a command of your own: on how many devices it trains at once, each with a part "
        "of every batch. {world_size} stands for it. Default: 1.",
    ),
)
_NAMES = (
    *("metric", "better", "examples", "batch_size", "learning_rate", "pattern", "config"),
    "devices",
)


def with_own_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a training command, which itself is passed on as the `workload`.

    Values in batchlab.toml count if the command line does not give them.
    """

    @functools.wraps(function)
    def called(**params: Any) -> Any:
        context = click.get_current_context()
        file = _run_file(context)
        if file is not None:
            params |= _values_of(file, context)
        given = {name: params.pop(name) for name in _NAMES}
        arguments = context.obj.own_command
        if file is not None:
            arguments = file.get("command")
        rates = params.get("learning_rates")
        if arguments is not None and rates and given["learning_rate"] is None:
            given["learning_rate"] = rates[0]  # a sweep compares with no other
        own = _command(context, arguments, given, file, params)
        return function(**params if own is None else params | {"workload": own})

    for option in reversed(_OPTIONS):
        called = option(called)
    return called


def _command(
    context: click.Context,
    arguments: Sequence[str] | None,
    given: dict[str, Any],
    file: dict[str, Any] | None,
    params: dict[str, Any],
) -> TrainingCommand | None:
    """Return the training command of this call, or None if it is about a workload."""
    known = {name: value for name, value in given.items() if value is not None}
    if arguments is None:
        if file is not None:
            raise UsageError(
                "the file has no command; add one, such as command = ['python', 'train.py', "
                "'--batch-size', '{batch_size}']"
            )
        _refuse_options_without_command(context, known)
        return None
    if file is None and _is_given(context, "workload"):
        raise UsageError(
            "a workload and a command after -- were given: both say what to train; give one of "
            "the two"
        )
    if "metric" not in known and context.info_name == "profile":
        # A profile only distinguishes evaluations from steps by it, and compares nothing.
        known |= {"metric": "loss", "better": "lower"}
    from batchlab.app.asked_once import completed
    from batchlab.script.command import TrainingCommand

    known |= {"arguments": arguments, "epochs": params.get("epochs")}
    known |= {"folder": None if file is None else file.get("cwd")}
    line = context.obj.command_line
    return TrainingCommand(**completed(line, str(context.info_name), known, params))


def _refuse_options_without_command(context: click.Context, known: dict[str, Any]) -> None:
    if not known:
        return
    option = next(iter(known)).replace("_", "-")
    if found := found_instead(context.info_name or "", option.replace("-", "_")):
        raise UsageError(f"--{option} is for a training command after --. {found}")
    offered = {name for param in context.command.params for name in param.opts}
    meant = f"; did you mean --{option}s?" if f"--{option}s" in offered else ""
    raise UsageError(
        f"--{option} is for a training command after --, such as -- python train.py --batch-size "
        f"{{batch_size}}, and none was given{meant}"
    )


def _run_file(context: click.Context) -> dict[str, Any] | None:
    """Return the file named in place of a workload, or the one here if nothing is named."""
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

    return read_run_file(path)


def _values_of(file: dict[str, Any], context: click.Context) -> dict[str, Any]:
    """Return the file's values for options not given, read as the command line would read them."""
    found = {}
    for param in context.command.params:
        name = str(param.name)
        value = file.get(name)
        if value is None or name == "command" or _is_given(context, name):
            continue
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        text += "s" if name == "budget" and not isinstance(value, str) else ""
        found[name] = param.type.convert(text, param, context)
    return found


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
