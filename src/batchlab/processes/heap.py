"""Heap: the memory that the C library of this process holds, whether it was touched or not."""

from __future__ import annotations

import ctypes


class _MallInfo2(ctypes.Structure):
    """`struct mallinfo2` of malloc.h (glibc 2.33 and later)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def heap_bytes() -> int | None:
    """What malloc has got from the system and not given back; None: this C library does not tell.

    Freed pieces that lie between used ones are still held, as they are in the process's resident
    memory. A piece that nothing has written to yet counts here and not there.
    """
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):  # no glibc, an older one, or no Unix
        return None
    ask.restype = _MallInfo2
    told = ask()
    return int(told.arena + told.hblkhd)


def shows_tensors() -> bool:
    """Whether what PyTorch takes is in that heap: not with another allocator (LD_PRELOAD)."""
    import torch

    before_bytes = heap_bytes()
    if before_bytes is None:
        return False
    held = torch.empty(_SEEN_BYTES, dtype=torch.uint8)  # untouched
    taken_bytes = (heap_bytes() or 0) - before_bytes
    return taken_bytes > held.numel() / 2


# So large that no freed piece has room for it.
_SEEN_BYTES = 2**28
