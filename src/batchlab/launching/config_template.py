"""Placeholder until the real one is merged."""

from collections.abc import Mapping
from pathlib import Path

from batchlab.launching.placeholders import Value


def filled_config(path: Path, values: Mapping[str, Value | None], *, folder: Path) -> Path:
    """Not there yet."""
    raise NotImplementedError
