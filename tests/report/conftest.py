"""Pages without drawings, for tests that read something else of them."""

import json
from html import escape
from typing import Any

import pytest

from batchlab.report import chart


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts as their specifications, which take no time to draw."""

    def as_text(spec: dict[str, Any], *, prefix: str) -> str:
        return f"<svg>{escape(json.dumps(spec))}</svg>"

    monkeypatch.setattr(chart, "_svg", as_text)
