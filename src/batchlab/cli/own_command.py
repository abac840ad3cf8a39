"""Own command: the options that say what counts of a training command given after `--`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchlab.cli.invocation import Invocation
from batchlab.cli.values import Number, WholeNumber
from batchlab.errors import UsageError

if TYPE_CHECKING:
    from batchlab.launching.training_command import TrainingCommand

Function = TypeVar("Function", bound=Callable[..., Any])

_RUN_FILE = Path("batchlab.toml")
_NAMES = ("metric", "better", "examples", "batch_size", "learning_rate", "pattern", "config")


def own_command_options(function: Function) -> Function:
    """The options of a training command; their values come as one mapping, `own`."""
    options = (
        click.option(
            "--metric",
            help="With a command of your own: the validation metric that counts, as your script "
            "prints it, such as val_loss.",
        ),
        click.option(
            "--better",
            type=click.Choice(["higher", "lower"]),
            help="Which way --metric improves, where its name does not tell.",
        ),
        click.option(
            "--examples",
            type=WholeNumber(1),
            help="With a command of your own: how many training examples there are. Default: found "
            "from its progress, if that counts epochs too.",
        ),
        click.option(
            "--batch-size",
            type=WholeNumber(1),
            help="With a command of your own: the batch size that you train with now. Default: 64.",
        ),
        click.option(
            "--learning-rate",
            type=Number("0.001"),
            help="With a command of your own: the learning rate that you train with now.",
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
    )
    for option in reversed(options):
        function = option(function)
    return function


def own_command(
    invocation: Invocation, given: dict[str, Any], *, epochs: int | None = None
) -> TrainingCommand | None:
    """The training command of this call: after `--`, or from batchlab.toml; None: a workload.

    Args:
        invocation: the call.
        given: the values of the options above, by name.
        epochs: how many a training takes, where the call says it.

    Raises:
        UsageError: options for a command without one, a command without a metric, or both a
            workload and a command.
    """
    file = _run_file(invocation)
    values = {name: given[name] for name in _NAMES if given[name] is not None}
    if invocation.own_command is None and file is None:
        if values:
            name = next(iter(values)).replace("_", "-")
            raise UsageError(
                f"--{name} is for a training command of your own, and none was given; put it after "
                f"--, such as -- python train.py --batch-size {{batch_size}}"
            )
        return None
    if file is not None:
        from batchlab.launching.run_file import read_run_file

        return read_run_file(file, **values)
    assert invocation.own_command is not None
    if _workload_given():
        raise UsageError(
            "a workload and a command after -- were given: both say what to train; give one of "
            "the two"
        )
    if "metric" not in values:
        raise UsageError(
            "a command of your own needs --metric: the validation metric that counts, as your "
            "script prints it, such as --metric val_loss"
        )
    from batchlab.launching.training_command import TrainingCommand

    return TrainingCommand(arguments=invocation.own_command, epochs=epochs, **values)


def _run_file(invocation: Invocation) -> Path | None:
    context = click.get_current_context()
    named = str(context.params.get("workload", ""))
    if named.endswith(".toml"):
        return Path(named)
    is_free = invocation.own_command is None and not _workload_given()
    return _RUN_FILE if is_free and _RUN_FILE.exists() else None


def _workload_given() -> bool:
    source = click.get_current_context().get_parameter_source("workload")
    return source is click.core.ParameterSource.COMMANDLINE
