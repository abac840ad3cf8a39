"""The built-in workloads: one file each, and the file's name is the registry's row.

Each file holds one public function `workload(*, setting=default, ...) -> Workload`; its docstring's
first line is the description, its keywords are the settings that `--set` changes.
"""

from __future__ import annotations

import sys

from batchlab.registry import row_names

__all__ = ["workload_names"]


def workload_names() -> list[str]:
    """The names of the built-in workloads; nothing is imported for it."""
    return row_names(sys.modules[__name__])
