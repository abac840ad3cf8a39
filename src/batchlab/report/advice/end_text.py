"""EndText: where the trainings of a configuration end, as people read it."""

from __future__ import annotations

import math

from batchlab.advice.advice import Ending, Endings
from batchlab.words.catalogue import number_text


def end_text(endings: Endings, found: Ending) -> str:
    """The mean end of a configuration that has one, as finely as the margin asks for."""
    decimals = max(0, 1 - math.floor(math.log10(2 * endings.margin)))
    return number_text(found.mean, f".{decimals}f")
