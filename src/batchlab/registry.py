"""Registry: a folder whose files are the rows; a new row is a new file and nothing else.

The file's name, with - for _, is the row's name. Listing imports nothing, reading a row imports its
file alone. A package whose `__path__` was given a second folder has the rows of both.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType


def row_names(package: ModuleType) -> list[str]:
    """The names of a registry's rows, ascending.

    Args:
        package: the folder.
    """
    return sorted(
        module.name.replace("_", "-") for module in pkgutil.iter_modules(package.__path__)
    )


def row_module(package: ModuleType, name: str) -> ModuleType:
    """The file of a row, imported.

    Args:
        package: the folder.
        name: one of `row_names`.

    Raises:
        ModuleNotFoundError: there is no such row.
    """
    return import_module(f"{package.__name__}.{name.replace('-', '_')}")
