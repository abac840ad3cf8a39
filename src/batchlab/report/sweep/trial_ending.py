"""Trial ending: how trials ended, in words."""

from __future__ import annotations

from collections import Counter

from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.parts.term_text import term_text
from batchlab.words.catalogue import plural, text


def status_text(record: TrialRecord) -> str:
    """The status of a trial, "unfinished" while it has none."""
    return "unfinished" if record.status is None else str(record.status)


def trial_words(record: TrialRecord) -> str:
    """A trial in a few words: "seed 1: diverged at epoch 3"."""
    return text(
        "seed {seed}: {status} at epoch {epochs:.3g}",
        seed=record.trial.seed,
        status=term_text(status_text(record)),
        epochs=record.epochs,
    )


def trial_counts(study: Study) -> str:
    """How many trials there are and how they ended, as a sentence."""
    n = len(study.records)
    if n == 0:
        return text("No trials have been run.")
    counts = Counter(status_text(record) for record in study.records)
    ended = ", ".join(
        text("{n} {status}", n=count, status=term_text(status))
        for status, count in counts.most_common()
    )
    return plural("{n} trial: {ended}.", "{n} trials: {ended}.", n, ended=ended)


def none_ended_well(study: Study) -> str:
    """That no trial ended well, or that none has so far."""
    if any(record.status is None for record in study.records):
        return text("No trial has ended well so far, so nothing can be compared yet.")
    return text("No trial ended well, so nothing can be compared.")
