"""Cache: what was costly to make and is the same for every study, kept for the next process."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def cache_folder() -> Path:
    """Where this user keeps what can be made again: `$XDG_CACHE_HOME/batchlab`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batchlab"


def kept_text(name: str, make: Callable[[], str]) -> str:
    """The text of this name, made only where it is not there; it need not be possible to keep it.

    Args:
        name: of the file; another text needs another name.
        make: gives the text.
    """
    try:
        path = cache_folder() / name
    except RuntimeError:  # there is no home
        return make()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = make()
    part = path.with_name(f".{name}.{os.getpid()}.part")  # never half written, whoever else does
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
    return text
