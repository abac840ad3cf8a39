"""Step-time text: the law of the step time in a sentence that follows its numbers."""

from __future__ import annotations

from batchlab.records.estimate import Estimate
from batchlab.report.parts.estimate_text import bound_text, interval_text
from batchlab.report.parts.quantity_text import quantity_text
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
    least = quantity_text("step_s", overhead_s.estimate)
    each = quantity_text("step_s", s_per_example.estimate)
    if knee.estimate is not None:
        at = quantity_text("critical_batch_size", knee.estimate)
        sure = interval_text("critical_batch_size", knee)
        known = f" ({sure})" if sure else ""
        return (
            f"about {least} however small the batch, and {each} for each example of a large one; "
            f"the two are equal at a batch size of about {at}{known}, and far above it a larger "
            f"batch does no more examples a second"
        )
    bound = bound_text("critical_batch_size", knee)
    if bound and knee.low is not None and overhead_s.estimate is not None:
        return (
            f"about {least} at every batch size that ran: what an example takes begins to show at "
            f"a batch size of {bound}"
        )
    if bound and s_per_example.estimate is not None:
        return (
            f"about {each} for each example from the smallest batch size on: what a step takes "
            f"without examples equals that of a batch size of {bound}"
        )
    return f"cannot tell ({reason_text(knee.reason)})"
