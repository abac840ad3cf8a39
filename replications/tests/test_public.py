"""The replications use batchlab as anybody can: by its public names only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import batchlab
from batchlab import datasets, plans

REPLICATIONS = Path(__file__).parents[1]
MODULES = {"batchlab": batchlab, "batchlab.datasets": datasets, "batchlab.plans": plans}
PUBLIC = {f"{name}.{each}" for name, module in MODULES.items() for each in module.__all__}


def used_names(file: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports or reads from batchlab."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "batchlab":
                yield f"batchlab.{node.attr}"
            elif node.value.id == "plans":
                yield f"batchlab.plans.{node.attr}"


def test_only_public_names_of_batchlab_are_used() -> None:
    files = [file for file in REPLICATIONS.rglob("*.py") if "tests" not in file.parts]
    names = {name for file in files for name in used_names(file)}
    of_batchlab = {name for name in names if name.partition(".")[0] == "batchlab"}

    assert len(of_batchlab) > 5
    assert of_batchlab - PUBLIC <= set(MODULES)
