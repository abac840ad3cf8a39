"""Plateaus: the plateau of each trial of a study, by the metric that counts."""

from __future__ import annotations

import functools

from batchlab.laws.plateau import Plateau, plateau_of
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord


@functools.lru_cache(maxsize=1)
def plateaus_of(study: Study) -> Plateaus:
    """The plateaus of a study: its page asks for them in several places, one page at a time."""
    return Plateaus(study)


class Plateaus:
    """The plateaus of a study's trials, each fitted when it is first asked for and then kept."""

    def __init__(self, study: Study) -> None:
        """Nothing is fitted yet."""
        self._metric = study.workload.metrics[0]
        self._found: dict[str, Plateau] = {}

    def of(self, record: TrialRecord) -> Plateau:
        """The plateau of one of the study's trials."""
        trial_id = record.trial.trial_id
        if trial_id not in self._found:
            self._found[trial_id] = plateau_of(
                record, metric=self._metric.name, better=self._metric.better
            )
        return self._found[trial_id]
