"""The messages that the source gives to the catalogue, and how long a sentence of them may be."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import batchlab

SOURCES = sorted(Path(batchlab.__file__).parent.rglob("*.py"))
MOST_WORDS = 30


@cache  # asked by several tests of every file
def messages(source: Path) -> tuple[str, ...]:
    """The words that a file gives to the catalogue."""
    return tuple(
        argument.value
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in ("text", "plural", "N_", "NN_")
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )
