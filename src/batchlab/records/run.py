"""RunRequest, RunEnd: a training run as an engine is asked for it, and as it answers."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.reason import Reason
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Status, Trial, TrialRecord

OUT_OF_TIME = Reason.of("out_of_time")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """One training run to ask an engine for: which trial, and how far.

    Attributes:
        trial: what to train.
        length: how far; limited in steps or epochs.
    """

    trial: Trial
    length: RunLength

    @property
    def last_step(self) -> int:
        """The step at which the run ends at the latest."""
        return self.length.last_step(self.trial)

    def never_begun(self, engine: str) -> TrialRecord:
        """What is known of it where the budget ended before its turn came.

        Args:
            engine: the name of the engine that was asked.
        """
        return TrialRecord(
            trial=self.trial,
            status=Status.TIMEOUT,
            reason=OUT_OF_TIME,
            engine=engine,
            threads=1,
            versions=(),
            target=self.length.until,
            evaluations=(),
            peak_bytes=None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEnd:
    """What came back: the request, and the whole record of its trial as it ended.

    Attributes:
        request: what was asked.
        record: the trial with its status for what was asked, and everything seen until then.
    """

    request: RunRequest
    record: TrialRecord
