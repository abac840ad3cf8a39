"""`batchlab report --live`: where its page lies, in which browser it is opened, its end."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.stored_study import put_study

from batchlab.store.store import Store

STUDY = made_up_study(batch_sizes=(64, 256), epochs=3)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a browser was told to open."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address))
    monkeypatch.setattr("os.nice", lambda _: 0)
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return opened


@pytest.mark.slow
def test_the_page_lies_beside_the_store_is_told_opened_and_ends_with_the_study(
    tmp_path: Path, do: Any, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)
    page = tmp_path / "batchlab-live.html"

    done = do("report", "--live", "--store", str(tmp_path / "lab.db"))

    assert (done.code, done.out, done.err) == (0, f"{page}\n", "")
    assert opened == [page.as_uri()]
    assert "what batch size does to made-up" in page.read_text()
    assert "Finished: 2 training runs." in page.read_text()
