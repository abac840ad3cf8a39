"""A store that is not there yet, for whoever asks something of the whole program."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return tmp_path / "lab.db"
