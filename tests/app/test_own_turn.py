from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from batchlab.app import subject as waiting
from batchlab.app.budget import Budget
from batchlab.app.subject import own_turn
from batchlab.errors import BudgetError
from batchlab.store.store import Store


def test_a_turn_begins_when_the_other_has_ended_and_lasts_as_long_as_its_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab.db"
    with Store(lab) as ours, Store(lab) as theirs, ExitStack() as held:
        assert held.enter_context(theirs.claim("work"))
        slept_s: list[float] = []
        monkeypatch.setattr(waiting.time, "sleep", lambda s: (slept_s.append(s), held.close()))

        with own_turn(ours, "work", budget=Budget(None), while_waiting="they worked"):
            with theirs.claim("work") as is_theirs:
                assert not is_theirs

        assert len(slept_s) == 1
        with theirs.claim("work") as is_theirs:
            assert is_theirs


def test_a_budget_that_ends_before_the_turn_says_what_the_other_was_doing(tmp_path: Path) -> None:
    with Store(tmp_path / "lab.db") as ours, Store(tmp_path / "lab.db") as theirs:
        with theirs.claim("work"), pytest.raises(BudgetError, match="it ended while they worked"):
            with own_turn(ours, "work", budget=Budget(0.001), while_waiting="they worked"):
                raise AssertionError("it is not our turn")
