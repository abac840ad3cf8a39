"""WorkloadOutline: what the text of a file says of its workloads; the file is read, never run.

For completion in a shell, which must be instant and must not run anybody's code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_MOST_BYTES = 1_000_000


def names_in(file: Path) -> list[str]:
    """The top-level functions that make a Workload and the variables that hold one.

    Args:
        file: a Python file; one that cannot be read or parsed has none.
    """
    return [name for name, _ in _workloads(file)]


def metrics_in(file: Path, name: str) -> list[str]:
    """The metrics that workload `name` of a file is given by name, and `loss`."""
    found = [
        key.value
        for known, node in _workloads(file)
        if known == name
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "metrics" and isinstance(keyword.value, ast.Dict)
        for key in keyword.value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    ]
    return list(dict.fromkeys([*found, "loss"]))


def _workloads(file: Path) -> Iterator[tuple[str, ast.stmt]]:
    for node in _statements(file):
        if not any(_makes_workload(part) for part in ast.walk(node)):
            continue
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node


def _statements(file: Path) -> list[ast.stmt]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return []
        return ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []


def _makes_workload(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
    return name == "Workload"
