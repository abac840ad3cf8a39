"""The command lines that an example tells its reader, from its docstring."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def commands(name: str) -> list[list[str]]:
    """The words of each command after `batchlab`; the file is named as it is from the root."""
    told = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()), clean=True)
    lines = (told or "").replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("    batchlab ")]
