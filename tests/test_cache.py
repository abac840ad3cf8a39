"""What is kept for the next process is made once, and where it can't be kept all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchlab.report.output_file import kept_text


def test_a_text_is_made_once_and_read_by_who_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    made = []

    found = [kept_text("µ.js", lambda: made.append(1) or "π\n") for _ in range(2)]  # type: ignore[func-returns-value]

    assert found == ["π\n", "π\n"]
    assert len(made) == 1
    assert [path.name for path in (tmp_path / "new" / "batchlab").iterdir()] == ["µ.js"]


@pytest.mark.parametrize("home", ["/proc/1/nowhere", "/dev/null"])
def test_where_it_cannot_be_kept_it_is_made_each_time(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", home)

    assert kept_text("a.js", lambda: "made") == "made"


def test_without_a_home_nothing_is_kept_and_no_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.chdir(tmp_path)

    assert kept_text("a.js", lambda: "made") == "made"
    assert not list(tmp_path.iterdir())
