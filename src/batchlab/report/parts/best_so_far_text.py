"""Best-so-far text: what leads while an advice is under way, in the same words everywhere."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.study import BestSoFar
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.words.catalogue import number_text, text


def best_so_far_text(best: BestSoFar) -> str:
    """What leads, and by what, without an end: "best so far: batch size 64 at learning rate 0.1".

    Args:
        best: what leads.
    """
    return next(best_so_far_wordings(best))


def best_so_far_wordings(best: BestSoFar) -> Iterator[str]:
    """The same in fewer and fewer words.

    Args:
        best: what leads.
    """
    rate = number_text(best.learning_rate, "rate")
    value = quantity_text(best.quantity, best.value)
    figure = {
        "time_to_target_s": text("{value} to target", value=value),
        "samples_to_target": text("{value} examples to target", value=value),
    }.get(best.quantity, text("{metric} {value}", metric=label_text(best.quantity), value=value))
    named = {"size": best.batch_size, "rate": rate, "figure": figure, "value": value}
    yield text("best so far: batch size {size} at learning rate {rate} ({figure})", **named)
    yield text("best so far: batch size {size} at {rate} ({figure})", **named)
    yield text("best so far: {size} at {rate} ({figure})", **named)
    yield text("best so far: {size} at {rate} ({value})", **named)
    yield text("best so far: {size} at {rate}", **named)
