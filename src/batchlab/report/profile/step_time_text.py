"""Step-time text: the law of the step time in a sentence that follows its numbers."""

from __future__ import annotations

from batchlab.records.estimate import Estimate
from batchlab.report.parts.estimate_text import bound_text, estimate_text
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text


def step_time_text(*, overhead_s: Estimate, s_per_example: Estimate, knee: Estimate) -> str:
    """What a step takes, whatever its batch size and for each example, and where the two meet.

    Args:
        overhead_s: time of the smallest step.
        s_per_example: time of each further example once the machine is full.
        knee: batch size at which the two are equal; a bound or nothing where it can't be told.

    Returns:
        A sentence without its full stop.
    """
    if knee.estimate is not None:
        return text(
            "about {least:step_s} for the smallest batch, and {each:step_s} for each example of a "
            "large one. The two are equal at a batch size of about {knee}. Far above that, larger "
            "batches train no more examples a second",
            least=overhead_s.estimate,
            each=s_per_example.estimate,
            knee=estimate_text("critical_batch_size", knee),
        )
    bound = bound_text("critical_batch_size", knee)
    if bound and knee.low is not None and overhead_s.estimate is not None:
        return text(
            "about {least:step_s} at every batch size that ran. The time of the examples begins "
            "to show at a batch size of {bound}",
            least=overhead_s.estimate,
            bound=bound,
        )
    if bound and s_per_example.estimate is not None:
        return text(
            "about {each:step_s} for each example, from the smallest batch size on. A step "
            "without examples takes as long as a batch size of {bound}",
            each=s_per_example.estimate,
            bound=bound,
        )
    return text("cannot tell ({reason})", reason=reason_text(knee.reason))
