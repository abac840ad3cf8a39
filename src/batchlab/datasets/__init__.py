"""The data sets that come with batchlab."""

from __future__ import annotations

from importlib import import_module

__all__ = ["load_mnist", "load_moby_dick"]


def __getattr__(name: str) -> object:  # PEP 562: naming the room loads neither torch nor numpy
    if name not in __all__:
        raise AttributeError(f"batchlab.datasets has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module("batchlab.datasets.embedded"), name)
