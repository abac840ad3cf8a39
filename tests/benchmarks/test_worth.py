from __future__ import annotations

from benchmarks.regret.worth import worths

from batchlab.advice.worth import NAMED_FOR_NOW, RECOMMENDED


def test_what_answers_say_of_their_worth_is_what_the_record_gives() -> None:
    assert worths() == (NAMED_FOR_NOW, RECOMMENDED)
