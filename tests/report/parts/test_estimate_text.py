from __future__ import annotations

import pytest

from batchlab.records.estimate import Estimate, Reason
from batchlab.report.text import estimate_text

written = Reason.as_written


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate.of(2.0, interval=(1.5, 2.5), n=3), "2 s (95 %: 1.5 s to 2.5 s)"),
        (Estimate.of(2.0, interval=(1.5, None), n=3), "2 s (95 %: at least 1.5 s)"),
        (Estimate.of(2.0, interval=(None, None), n=1), "2 s"),
        (
            Estimate(estimate=None, low=1.5, high=None, n=3, reason=written("missed")),
            "at least 1.5 s",
        ),
        (
            Estimate(estimate=None, low=None, high=2.5, n=3, reason=written("below")),
            "at most 2.5 s",
        ),
        (Estimate.cannot_tell(written("nothing ran")), "can't be told"),
    ],
)
def test_an_estimate_is_written_with_as_much_as_is_known_of_it(estimate, text):
    assert estimate_text("time_to_target_s", estimate) == text
