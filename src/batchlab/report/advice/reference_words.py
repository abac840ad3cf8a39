"""What the reference is called: the user's own configuration, or what stands in for it."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.advice import Advice
from batchlab.words.catalogue import text


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceWords:
    """How an advice's reference is called.

    Attributes:
        configuration: batch size and rate as they are.
        batch_size: the batch size alone.
        short: the configuration in a table or at a mark.
        nothing_to_gain: where it is what is recommended.
    """

    configuration: str
    batch_size: str
    short: str
    nothing_to_gain: str


def reference_words(advice: Advice) -> ReferenceWords:
    """The words for the reference of `advice`."""
    if advice.stand_in_for is None:
        return ReferenceWords(
            configuration=text("your configuration"),
            batch_size=text("your batch size"),
            short=text("yours"),
            nothing_to_gain=text("It is your own configuration, so there is nothing to gain."),
        )
    return ReferenceWords(
        configuration=text("the stand-in for your configuration"),
        batch_size=text("the stand-in's batch size"),
        short=text("stand-in for yours"),
        nothing_to_gain=text(
            "Your batch size {size} cannot be used here. This one stands in for it, so there is "
            "nothing to compare it with.",
            size=advice.stand_in_for,
        ),
    )
