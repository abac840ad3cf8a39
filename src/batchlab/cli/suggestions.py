"""Suggestions: what a shell offers for an argument: workloads, metrics, stored studies.

A press of a key waits for them: files are read, never run, and nothing loads torch. Nor does
`--help` wait for what only they need, which each imports for itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchlab.workload import builtin

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

DEFAULT_STORE = "batchlab.db"


def workload_suggestions(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The built-in names, and the workloads in the files that begin so."""
    from click.shell_completion import CompletionItem

    from batchlab.workload.outline import names_in

    folder, _, start = incomplete.partition(":")[0].rpartition("/")
    files = sorted(Path(folder or ".").glob(f"{_literal(start)}*.py"))
    begin = f"{folder}/" if folder or incomplete.startswith("/") else ""
    possible = [
        *builtin.workload_names(),
        *(f"{begin}{f.name}:{n}" for f in files for n in names_in(f)),
    ]
    found = [CompletionItem(name) for name in possible if name.startswith(incomplete)]
    # First, so that a shell falls back on folders where none of the names begins so.
    return [CompletionItem(incomplete, type="file"), *found]


def metric_suggestions(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The metrics of the workload that is named before, as far as its text names them."""
    from click.shell_completion import CompletionItem

    from batchlab.workload.outline import metrics_in

    # While an option waits for its value the workload is among what is left over, and bash cuts a
    # word at its colon.
    named = "".join(context.args) or str(context.params["workload"])
    path, colon, name = named.rpartition(":")
    file = Path(path) if colon else _built_in(name)
    metrics = metrics_in(file, name if colon else "workload")
    return [CompletionItem(f"{m}=") for m in metrics if m.startswith(incomplete)]


def study_suggestions(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The studies of the store, with the commands that asked for them."""
    from click.shell_completion import CompletionItem

    from batchlab.store.study_names import study_names

    store = Path(context.params.get("store") or DEFAULT_STORE)
    return [
        CompletionItem(study_id, help=command)
        for study_id, command in study_names(store)
        if study_id.startswith(incomplete)
    ]


def _built_in(name: str) -> Path:
    return Path(builtin.__path__[0], f"{name.replace('-', '_')}.py")


def _literal(text: str) -> str:
    """The text as a pattern that stands for itself."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)
