"""The built-in workloads, one file each: the file of `mnist-mlp` is `mnist_mlp.py`.

Each file has one public function `workload(*, setting=default, ...) -> Workload`. The first line
of the function's docstring is the description; the keywords are the settings of `--set`.
"""

from __future__ import annotations

import pkgutil

__all__ = ["workload_names"]


def workload_names() -> list[str]:
    """Return the names of the built-in workloads, in ascending order, without importing them."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
