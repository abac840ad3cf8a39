"""The law of steps to target in words, and as a document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batchlab.laws.steps import StepsToTargetFit
from batchlab.records.estimate import Reason
from batchlab.report.text import estimate_text
from batchlab.version import __version__
from batchlab.words.catalogue import text
from batchlab.words.document import SCHEMA
from batchlab.words.reasons import reason_text

# The quantity and the label of each parameter.
_PARAMETERS = {
    "b_crit": ("critical_batch_size", "critical batch size B_crit"),
    "s_min": ("steps_to_target", "S_min, steps with large batches"),
    "e_min": ("samples_to_target", "E_min, samples with small batches"),
    "exponent": ("ratio", "exponent that the points ask for (the law has 1)"),
}
_DOES_NOT_HOLD = (
    "the law does not hold: its exponent is not 1. B_crit and S_min are those of the best curve of "
    "any exponent, and the steps at each batch size are as measured"
)
_HOLDS = "the law is not refuted: its exponent of 1 lies within the interval"


@dataclass(frozen=True, kw_only=True, slots=True)
class FitDocument:
    """What `batchlab fit --json` prints."""

    schema: int = SCHEMA
    command: str = "fit"
    batchlab: str = __version__
    source: str
    law: StepsToTargetFit


def fit_text(law: StepsToTargetFit) -> Iterator[str]:
    """Yield one line for each parameter of a law, and whether the law holds."""
    told: set[Reason] = set()
    for name, (quantity, label) in _PARAMETERS.items():
        known = getattr(law, name)
        line = f"{text(label)}: {estimate_text(quantity, known)}"
        if known.reason is not None:
            if known.reason in told:
                continue
            told.add(known.reason)
            line += f": {reason_text(known.reason)}"
        yield line
    if not law.law_holds:
        yield text(_DOES_NOT_HOLD)
    elif law.exponent.estimate is not None:
        yield text(_HOLDS)
    for at in law.by_batch_size:
        steps = at.expected if law.law_holds else at.measured
        known = estimate_text("steps_to_target", steps)
        yield text("steps at batch size {size}: {known}", size=at.batch_size, known=known)
    yield text(
        "Fitted by maximum likelihood of log steps; 95 % intervals by profile likelihood, with the "
        "scatter of the seeds pooled over batch sizes."
    )
