"""`batchlab init`: a draft of batchlab.toml for a training command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from batchlab.script.flags import Draft


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def init(command: tuple[str, ...]) -> None:
    """Draft a batchlab.toml for your own training command.

    COMMAND is what you type to train, such as `python train.py`. It is run once with --help, to see
    which flags it has. Edit the draft before you use it. A batchlab.toml that is there is kept.
    """
    from batchlab.app.init import init as run_init

    print(_draft_text(run_init(command, folder=Path.cwd())))


def _draft_text(draft: Draft) -> str:
    lines = ["Wrote batchlab.toml. Edit it before you use it."]
    if draft.trouble:
        lines.append(f"Warning: {draft.trouble}.")
    if draft.flags:
        flags = ", ".join(f"{flag.name} ({name})" for name, flag in draft.flags.items())
        lines.append(f"Found: {flags}.")
    if draft.missing:
        missing = ", ".join(f"{{{name}}}" for name in draft.missing)
        lines.append(f"Not found, add what your script has: {missing}.")
    lines.append("Name your metric, and which values of it are better.")
    return "\n".join(lines)
