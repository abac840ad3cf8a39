"""Cache: where lies what was costly to make and is the same for every study."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where this user keeps what can be made again: `$XDG_CACHE_HOME/batchlab`.

    Raises:
        OSError: the user has no home.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(given) if given else Path.home() / ".cache"
    except RuntimeError as error:
        raise OSError(str(error)) from error
    return folder / "batchlab"
