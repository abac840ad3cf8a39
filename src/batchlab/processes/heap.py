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
