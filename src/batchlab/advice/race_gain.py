"""RaceGain: how many times as long the reference takes as what a race names, by single runs.

One training of each gives no interval of its own. How far such figures are off was seen on recorded
trainings, where seeds that had no part in the race say what is true.
"""

from __future__ import annotations

from batchlab.records.estimate import Estimate

# The true figure over the one seen, from and to, in 95 % of the recorded answers, by whether the
# end of a training was seen. Where it was not, one in thirty misses the level on other seeds, so
# there is no lower bound. They come from benchmarks/results/race_gain.json.
_END_SEEN = (0.48, 1.47)
_CUT = (None, 2.48)


def race_gain(seen: float, *, end_was_seen: bool) -> Estimate:
    """The gain with the interval that the record gives it.

    Args:
        seen: the reference's cost to the target over that of what is named, a single run of each.
        end_was_seen: whether the target comes from the end of a training, not from where it was
            cut.
    """
    low, high = _END_SEEN if end_was_seen else _CUT
    return Estimate.of(seen, interval=(None if low is None else low * seen, high * seen), n=1)
