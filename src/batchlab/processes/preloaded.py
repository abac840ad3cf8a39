"""Preloaded: the last module that the fork server imports; it prepares the children.

It freezes all objects made by then. Otherwise a garbage collection in a child would write into
every object that the server imported, and so copy that memory into the child.
"""

import gc
import mmap
import re
import warnings
import zlib
from typing import Any

import torch

# Turn off torch.compile: compiling for each batch size in each child often exceeds the training.
torch.compiler.set_stance("force_eager")

_SHOWN = mmap.mmap(-1, 2**16)  # children share this memory; a byte is 1 if a warning was shown
_show = warnings.showwarning


def _show_once(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Show a warning unless a child has shown it already, even with other numbers in it."""
    text = re.sub(r"\d+", "#", f"{category.__name__} {message}")
    byte = zlib.crc32(text.encode()) % len(_SHOWN)
    if not _SHOWN[byte]:
        _SHOWN[byte] = 1
        _show(message, category, *place, **more)


warnings.showwarning = _show_once
gc.collect()
gc.freeze()
