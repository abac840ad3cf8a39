"""What allocation writes down of a decision: every figure is one that a store keeps."""

from __future__ import annotations

import math

from tests.reference.made_up_outcome import decision

from batchlab.advice.allocation import _bounds_of
from batchlab.store.schema import kept_reason, reason_kept
from batchlab.words.reasons import reason_text


def test_a_batch_size_without_a_bound_is_told_and_kept_in_a_store():
    """An infinite number in a note was an error at the end of the study."""
    why = _bounds_of(decision(relative=(1.0, 1.0), high=(1.3, math.inf)))

    assert reason_kept(kept_reason(why)) == why
    assert reason_text(why) == "near the best: 64 (at most 1.30 times), 128 (no bound yet)"
