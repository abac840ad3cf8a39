"""Budget words: a budget that was asked for in trainings, in words."""

from __future__ import annotations

from batchlab.advice.advice import Advice
from batchlab.words.catalogue import plural


def trainings_words(advice: Advice) -> str:
    """How many of the user's own trainings the budget is worth; empty: a time was asked for."""
    if advice.trainings is None:
        return ""
    # A part of one takes the plural, as half a dozen does.
    return plural(
        "the time of one of your trainings",
        "the time of {trainings:.4g} of your trainings",
        1 if advice.trainings == 1 else 2,
        trainings=advice.trainings,
    )
