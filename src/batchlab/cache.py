"""Cache: the folder for files that are costly to make and the same for every study."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's folder for files that can be made again, `$XDG_CACHE_HOME/batchlab`.

    Raises:
        OSError: the user has no home folder.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise OSError(str(error)) from error
    return folder / "batchlab"
