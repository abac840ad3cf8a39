"""`batchlab report --live`: where its page lies, in which browser it is opened, its end."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

import pytest
from tests.reference.stored_study import STUDY, put_study

from batchlab.store.store import Store


@pytest.mark.slow
def test_the_page_lies_beside_the_store_is_told_opened_and_ends_with_the_study(
    tmp_path: Path, do: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("os.nice", lambda _: 0)
    monkeypatch.setenv("DISPLAY", ":0")
    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)
    page = tmp_path / "batchlab-live.html"

    done = do("report", "--live", "--store", str(tmp_path / "lab.db"))

    assert (done.code, done.out, done.err) == (0, f"{page}\n", "")
    assert opened == [page.as_uri()]
    assert "what batch size does to made-up" in page.read_text()
    assert "Finished: 2 training runs." in page.read_text()
