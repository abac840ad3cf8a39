from __future__ import annotations

import pytest
from tests.reference.command_ends import failed_end

from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.script.process import FailureCount
from batchlab.words.reasons import reason_text


def test_three_failures_of_the_same_kind_are_enough() -> None:
    count = FailureCount()
    lines = (
        "FileNotFoundError: /tmp/a/data_1.csv, line 3 at 0x7f01",
        "FileNotFoundError: /tmp/b/data_2.csv, line 44 at 0x7fff",
        "FileNotFoundError: ../c/data_3.csv, line 5 at 0xab",
    )

    *go_on, stop = [count.add(failed_end(last_line=line)) for line in lines]

    assert go_on == [None, None]
    assert reason_text(stop).startswith("3 runs failed in the same way: python train.py ended with")


@pytest.mark.parametrize(
    "third",
    [
        failed_end(last_line="ValueError: no such column"),
        failed_end(exit_code=2),
        failed_end(was_asked=True),
        failed_end(status=Status.OOM),
    ],
)
def test_a_third_of_another_kind_is_not(third: object) -> None:
    count = FailureCount()
    count.add(failed_end())
    count.add(failed_end())

    assert count.add(third) is None  # type: ignore[arg-type]


def test_progress_that_cannot_be_followed_counts_though_batchlab_ended_the_training() -> None:
    count, asked = FailureCount(), failed_end(was_asked=True)
    complaints = [Reason.as_written(f"step counter goes backward: {n} after 9") for n in (3, 4, 5)]

    *go_on, stop = [count.add(asked, why) for why in complaints]

    assert go_on == [None, None]
    assert "step counter goes backward: 5 after 9" in reason_text(stop)
