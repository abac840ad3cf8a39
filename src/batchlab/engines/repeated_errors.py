"""RepeatedErrors: the same exception at every rate of a batch size is one answer, not many trials.

A model that does not take a batch size fails in the same way whatever the rate and the seed. After
two trials have shown that, the others of the batch size need no training. An exception about
numbers (a loss that is not a number) may be the rate's fault, and says nothing of another one.
"""

from __future__ import annotations

import re

from batchlab.records.reason import Reason
from batchlab.records.trial import Status, Trial
from batchlab.words.reasons import reason_text

_ENOUGH = 2
_ABOUT_NUMBERS = re.compile(
    r"\b(nan|not a number|inf|infinite|infinity|(non-?)?finite|diverg\w*|overflow\w*|explod\w*)\b",
    re.IGNORECASE,
)


class RepeatedErrors:
    """The errors that trials ended with, by batch size."""

    def __init__(self) -> None:
        """None was seen yet."""
        self._seen: dict[tuple[int, int, Reason, int], set[str]] = {}
        self._known: dict[tuple[int, int], Reason] = {}

    def note(self, trial: Trial, status: Status | None, reason: Reason | None, step: int) -> bool:
        """Keep how a trial ended.

        Args:
            trial: that ended.
            status: how.
            reason: why.
            step: its last evaluation's, which tells one place in the training from another.

        Returns:
            Whether it is known from now on that its batch size fails.
        """
        if status is not Status.ERROR or reason is None:
            return False
        if _ABOUT_NUMBERS.search(reason_text(reason)):
            return False
        trials = self._seen.setdefault((*_size(trial), reason, step), set())
        trials.add(trial.trial_id)
        is_new = len(trials) >= _ENOUGH and _size(trial) not in self._known
        if is_new:
            self._known[_size(trial)] = reason
        return is_new

    def why_not(self, trial: Trial) -> Reason | None:
        """Why the trial would fail as others of its batch size did; None: it may not."""
        why = self._known.get(_size(trial))
        return why and Reason.of("failed_alike_before", size=trial.batch_size, why=why)


def _size(trial: Trial) -> tuple[int, int]:
    return trial.batch_size, trial.micro_batch_size
