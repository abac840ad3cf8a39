"""Preloaded: the module that the fork server imports, to prepare the child processes.

This module excludes all objects of the server from garbage collection. Otherwise, a collection in a
child would write into all of these objects, so the kernel would copy them for the child.
"""

import gc
import mmap
import re
import warnings
import zlib
from importlib import import_module
from typing import Any

# With these modules preloaded, a child starts in 40 ms, not in 3 s. A process's first optimizer
# imports torch._dynamo, which takes as long as importing torch. The functions that run in children
# are in files that import SciPy, which takes 0.2 s. No module may initialize CUDA, because forked
# children could not use CUDA then. Garbage collection would free nothing here and take 0.6 s.
gc.disable()
for _name in (
    "torch._dynamo",
    "cloudpickle",
    "batchlab.measure.check",
    "batchlab.measure.profiling",
    "batchlab.runs.workers",
):
    import_module(_name)

# Turn off torch.compile: compiling in each child for each batch size often outlasts the training.
import_module("torch.compiler").set_stance("force_eager")

_SHOWN = mmap.mmap(-1, 2**16)  # Shared by all children: byte i is 1 if a text of hash i was shown.
_show = warnings.showwarning


def _show_once(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Show a warning unless a child has already shown it, perhaps with other numbers in it."""
    text = re.sub(r"\d+", "#", f"{category.__name__} {message}")
    byte = zlib.crc32(text.encode()) % len(_SHOWN)
    if not _SHOWN[byte]:
        _SHOWN[byte] = 1
        _show(message, category, *place, **more)


warnings.showwarning = _show_once
gc.freeze()
gc.enable()
