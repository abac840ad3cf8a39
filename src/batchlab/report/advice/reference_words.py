"""What the reference is called: the user's own configuration, or what stands in for it."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.advice.advice import Advice


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceWords:
    """How an advice's reference is called.

    Attributes:
        configuration: batch size and rate as they are.
        batch_size: the batch size alone.
        nothing_to_gain: where it is what is recommended.
    """

    configuration: str
    batch_size: str
    nothing_to_gain: str


_OWN = ReferenceWords(
    configuration="your configuration as it is",
    batch_size="your batch size",
    nothing_to_gain="It is your own configuration, so there is nothing to gain.",
)


def reference_words(advice: Advice) -> ReferenceWords:
    """The words for the reference of `advice`."""
    if advice.stand_in_for is None:
        return _OWN
    return ReferenceWords(
        configuration="the stand-in for your configuration",
        batch_size="the stand-in's batch size",
        nothing_to_gain=(
            f"It is what stands in for your configuration, whose batch size {advice.stand_in_for} "
            f"cannot be had: there is nothing to compare it with."
        ),
    )
