from __future__ import annotations

from pathlib import Path

import pytest

from batchlab.cli import invocation
from batchlab.cli.invocation import Invocation

PAGE = Path("page.html")


@pytest.mark.parametrize(
    ("budget_s", "page", "reserved_s"),
    [
        (60.0, PAGE, 4.0),
        (6.0, PAGE, 3.0),  # never more than half of a budget
        (60.0, None, 0.7),  # text alone
    ],
)
def test_what_showing_the_results_takes_is_reserved_beside_what_is_gone(
    budget_s: float, page: Path | None, reserved_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation.time, "monotonic", lambda: 103.0)
    found = Invocation(command_line="batchlab sweep", started_s=100.0)

    assert found.reserved_s(budget_s, page) == pytest.approx(3.0 + reserved_s)
