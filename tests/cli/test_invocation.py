from __future__ import annotations

from pathlib import Path

import pytest

from batchlab.cli import invocation
from batchlab.cli.invocation import Invocation

PAGE = Path("page.html")


@pytest.fixture
def three_seconds_in(monkeypatch: pytest.MonkeyPatch) -> Invocation:
    monkeypatch.setattr(invocation.time, "monotonic", lambda: 103.0)
    return Invocation(command_line="batchlab sweep", started_s=100.0)


def test_a_page_is_reserved_nine_seconds_beside_what_is_gone(
    three_seconds_in: Invocation,
) -> None:
    assert three_seconds_in.reserved_s(60.0, PAGE) == 12.0


def test_a_page_never_takes_more_than_half_of_a_budget(three_seconds_in: Invocation) -> None:
    assert three_seconds_in.reserved_s(10.0, PAGE) == 8.0


def test_text_is_reserved_less_than_a_second(three_seconds_in: Invocation) -> None:
    assert three_seconds_in.reserved_s(60.0, None) == pytest.approx(3.7)
