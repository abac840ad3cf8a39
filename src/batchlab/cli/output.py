"""Output: results go to stdout, and everything else that a command prints to stderr."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from batchlab.app.report import Advised
    from batchlab.records.study import Study
    from batchlab.report.table import Section


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirect the stdout of this process and its children to stderr during the `with` block."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


@contextlib.contextmanager
def as_wide_as_stdout() -> Iterator[None]:
    """Wrap texts at the terminal's width during the `with` block, if stdout is a terminal."""
    from batchlab.report.text import on_a_terminal

    if not sys.stdout.isatty():
        yield
        return
    with on_a_terminal(shutil.get_terminal_size().columns):
        yield


def print_study(
    shown: Study | Advised, *, store: Path, page: Path | None, as_json: bool, explains: bool = True
) -> None:
    """Print a study as a JSON document if `as_json`, or else as text, as wide as a terminal."""
    from batchlab.app.report import json_document, text_of

    if as_json:
        print(json_document(shown, store=store, page=page))
        return
    with as_wide_as_stdout():
        print(text_of(shown, page=page, explains=explains), end="")


def print_answer(document: str, section: Section, *, as_json: bool) -> None:
    """Print the JSON document if `as_json`, or else the section as text, as wide as a terminal."""
    from batchlab.report.table import sections_text

    if as_json:
        print(document)
        return
    with as_wide_as_stdout():
        print(sections_text([section]), end="")
