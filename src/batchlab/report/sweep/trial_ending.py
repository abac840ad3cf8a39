"""Trial ending: how trials ended, in words."""

from __future__ import annotations

from collections import Counter

from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord


def status_text(record: TrialRecord) -> str:
    """The status of a trial, "unfinished" while it has none."""
    return "unfinished" if record.status is None else str(record.status)


def trial_words(record: TrialRecord) -> str:
    """A trial in a few words: "seed 1: diverged at epoch 3"."""
    return f"seed {record.trial.seed}: {status_text(record)} at epoch {record.epochs:.3g}"


def trial_counts(study: Study) -> str:
    """How many trials there are and how they ended, as a sentence."""
    n = len(study.records)
    if n == 0:
        return "No trials have been run."
    counts = Counter(status_text(record) for record in study.records)
    ended = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return f"{n} trial{'s' if n > 1 else ''}: {ended}."
