"""The folder for files that can be made again."""

from pathlib import Path

import pytest

from batchlab.cache import cache_folder


def test_without_a_home_there_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)

    with pytest.raises(OSError, match="home directory"):
        cache_folder()
