"""The command that goes on with a study: the one that asked, with other values."""

from __future__ import annotations

import pytest

from batchlab.report.advice_commands import follow_up


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        ("batchlab advise", {"--budget": "9m"}, "batchlab advise --budget 9m"),
        (
            "batchlab advise a.py:f --budget 3m --set width=64",
            {"--budget": "9m"},
            "batchlab advise a.py:f --set width=64 --budget 9m",
        ),
        ("batchlab advise --budget=3m x", {"--budget": "9m"}, "batchlab advise x --budget 9m"),
        ("batchlab advise --budget 3m", {"--trainings": "8"}, "batchlab advise --trainings 8"),
        (
            "batchlab advise 'my file.py:f' --target f1=0.9 --budget 3m",
            {"--target": "f1=0.8"},
            "batchlab advise 'my file.py:f' --budget 3m --target f1=0.8",
        ),
        ("batchlab.advise('mine', ...)", {"--budget": "9m"}, 'budget="9m"'),
        ("batchlab.advise('mine', ...)", {"--trainings": "8"}, "trainings=8"),
        (
            "batchlab.advise('mine', ...)",
            {"--budget": "9m", "--target": "f1=0.8"},
            'budget="9m", target=("f1", 0.8)',
        ),
    ],
)
def test_the_new_value_stands_in_place_of_the_old_one(command, options, told) -> None:
    assert follow_up(command, options) == told
