"""ForkServer: the process that children are forked from, with torch imported once and for all."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext
from types import ModuleType

# A child then costs 40 ms, not 3 s. The first optimizer of a process imports torch._dynamo, which
# takes as long as torch itself. None of these may touch CUDA: forked children could not use it.
_PRELOAD = [
    "torch",
    "torch._dynamo",
    "cloudpickle",
    "batchlab.training.plain",
    "batchlab.training.parcel",
]


def start_early() -> None:
    """Start the server now, so that it imports torch while this process does.

    It is started with the first child otherwise. Where there is no fork server (outside Unix),
    nothing happens.
    """
    if context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        with no_main_module():
            forkserver.ensure_running()


def context() -> ForkServerContext | SpawnContext:
    """How children are started: forked from the server, or spawned where there is none."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(_PRELOAD)
    return forked


@contextmanager
def no_main_module() -> Iterator[None]:
    """Context: children do not import the caller's script again.

    `multiprocessing` would run it anew in every child, so that a script that calls batchlab
    outside an `if __name__ == "__main__"` block would start itself without end. What children need
    from that module travels by value.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
