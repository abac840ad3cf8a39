"""The built-in workloads: one file each, named like the workload, with _ for -.

Each file holds one public function `workload(*, setting=default, ...) -> Workload`; its docstring's
first line is the description, its keywords are the settings that `--set` changes.
"""

from __future__ import annotations

import pkgutil

__all__ = ["workload_names"]


def workload_names() -> list[str]:
    """Return the names of the built-in workloads, in ascending order, without importing them."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
