"""The data sets that come with batchlab."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchlab.datasets.embedded import load_mnist as load_mnist
    from batchlab.datasets.embedded import load_moby_dick as load_moby_dick

__all__ = ["load_mnist", "load_moby_dick"]


def __getattr__(name: str) -> object:  # PEP 562: importing this package does not import NumPy
    if name not in __all__:
        raise AttributeError(f"batchlab.datasets has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module("batchlab.datasets.embedded"), name)
