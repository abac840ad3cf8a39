"""Options: the arguments and flags that several commands share, the same everywhere they apply."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchlab.cli.values import BUDGET, BYTES, SETTING
from batchlab.errors import UsageError
from batchlab.workload import builtin

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _each_once(
    _context: click.Context, _parameter: click.Parameter, given: tuple[tuple[str, str], ...]
) -> dict[str, str]:
    """The settings by name.

    Raises:
        UsageError: a name that was given twice.
    """
    settings: dict[str, str] = {}
    for name, value in given:
        if name in settings:
            raise UsageError(
                f"setting {name!r} was given twice, as {settings[name]} and as {value}; give it "
                f"once, and another sweep for the other value"
            )
        settings[name] = value
    return settings


def _built_in_or_file(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What a shell offers for a workload: files, which come first, and the built-in names."""
    from click.shell_completion import CompletionItem  # `--help` doesn't wait for it

    names = [name for name in builtin.workload_names() if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]


workload_argument = click.argument(
    "workload", default="mnist-mlp", shell_complete=_built_in_or_file
)
settings_option = click.option(
    "--set",
    "settings",
    type=SETTING,
    multiple=True,
    callback=_each_once,
    help="Change a setting of the workload, such as width=64. Give it again for another setting.",
)
sampling_option = click.option(
    "--sampling",
    type=click.Choice(["reshuffle", "replacement"]),
    default="reshuffle",
    show_default=True,
    help="reshuffle: each epoch takes every example once, in a new order. replacement: each step "
    "draws its examples at random.",
)
drop_last_option = click.option(
    "--drop-last", is_flag=True, help="Leave out the last batch of each epoch if it is smaller."
)
memory_limit_option = click.option(
    "--memory-limit",
    type=BYTES,
    help="The most memory that training may take. Default: all there is.",
)
device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Where to run: cpu, cuda, or cuda:1 for the second GPU.",
)
minute_option = click.option(
    "--budget",
    type=BUDGET,
    default="60s",
    show_default=True,
    help="Stop after this much time at most.",
)
store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    default="batchlab.db",
    show_default=True,
    help="The file that keeps all results.",
)
study_option = click.option(
    "--study",
    "study_id",
    help="Which study, by the start of its id. Default: the last.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else."
)
quiet_option = click.option(
    "--quiet", is_flag=True, help="Print only the result and errors: no progress, no warnings."
)
