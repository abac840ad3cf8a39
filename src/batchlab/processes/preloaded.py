"""Preloaded: the last module that the fork server imports, to prepare the child processes.

This module excludes all objects of the server from garbage collection. Otherwise, a collection in a
child would write into all of these objects, so the kernel would copy them for the child.
"""

import gc
import mmap
import re
import warnings
import zlib
from typing import Any

import torch

# Turn off torch.compile: compiling in each child for each batch size often outlasts the training.
torch.compiler.set_stance("force_eager")

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
gc.collect()
gc.freeze()
