"""The messages that the source gives to the catalogue, and how long a sentence of them may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import batchlab

SOURCES = sorted(Path(batchlab.__file__).parent.rglob("*.py"))
MOST_WORDS = 30


def messages(source: Path) -> Iterator[str]:
    """The words that a file gives to the catalogue."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("text", "plural", "N_", "NN_"):
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield argument.value
