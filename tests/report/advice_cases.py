"""Cases of advices: what one sentence of an answer has to tell, and the advice that it tells it of.

Each is an advice in which one field is another. What is said of it is on the golden page.
"""

from __future__ import annotations

from dataclasses import replace

from tests.reference.made_up_advice import (
    KINDS,
    around,
    cannot_tell_advice,
    made_up_advice,
    with_endings,
)

from batchlab.advice.advice import Advice
from batchlab.records.estimate import Estimate, Reason

ADVICE = made_up_advice()
OPEN = cannot_tell_advice()


def with_laws(**changes: object) -> Advice:
    """The advice with other laws."""
    return replace(ADVICE, laws=replace(ADVICE.laws, **changes))


OTHER_RATE = replace(ADVICE, reference=replace(ADVICE.recommendation, learning_rate=0.01))
TOO_HIGH = replace(ADVICE, reference=replace(ADVICE.reference, learning_rate=0.4))
NEAR_ENOUGH = replace(ADVICE, reference=replace(ADVICE.reference, learning_rate=0.04))
ONLY_THE_RATE = replace(
    ADVICE,
    recommendation=ADVICE.reference_tuned,
    gain=around(2.5),
    gain_from_batch_size=Estimate.of(1.0, interval=(1.0, 1.0), n=1),
)
ENDED = with_endings(ADVICE)
USUAL = {"is_usual": True}
OPEN_END = with_endings(replace(ADVICE, chance=0.9), better_by=-0.0006, verdict="open")

CASES: dict[str, tuple[str, Advice]] = {
    "likely": ("why", replace(ADVICE, chance=0.83)),
    "not sure": ("why", replace(ADVICE, chance=0.55)),
    "given": ("why", replace(ADVICE, target_origin="given")),
    "its end was seen": ("why", ENDED),
    "likely, beside the usual": ("why", replace(ADVICE, chance=0.87, **USUAL)),
    "a bound": ("why", KINDS["reference_missed"]()),
    "hardly learns": (
        "why",
        replace(
            ADVICE,
            hardly_learns=Reason.of(
                "hardly_learns",
                epochs=5.0,
                metric="accuracy",
                value=0.11,
                first=0.1,
            ),
        ),
    ),
    "keeps the batch size": ("answer", OTHER_RATE),
    "in micro-batches": ("answer", KINDS["reference_missed"]()),
    # What stays.
    "stays": ("answer", OPEN),
    "another came nearest": ("why", OPEN),
    "not worth its risk": (
        "why",
        replace(OPEN, reason=Reason.of("risk_outweighs", size=128, rate=0.08, tenths=8)),
    ),
    **{
        code: ("why", replace(OPEN, reason=Reason.of(code)))
        for code in ("nothing_likely_faster", "no_larger_likely", "nothing_likely_better")
    },
    "stays, beside the usual": (
        "answer",
        replace(OPEN, reference=ADVICE.reference, **USUAL),
    ),
    "nothing ran": ("answer", replace(OPEN, provisional=None)),
    # The learning rate.
    "far too low": ("learning rate", ADVICE),
    "far too high": ("learning rate", TOO_HIGH),
    "batch size may add nothing": (
        "learning rate",
        replace(ADVICE, gain=around(1.6, 0.2), gain_from_batch_size=around(1.3, 0.3)),
    ),
    "the rate gains nothing": (
        "learning rate",
        replace(ADVICE, gain=around(2.0), gain_from_batch_size=around(2.0)),
    ),
    "perhaps nothing is gained": (
        "learning rate",
        replace(ADVICE, gain=around(1.3, 0.4), gain_from_batch_size=around(1.0, 0.2)),
    ),
    "the batch size stays": ("learning rate", ONLY_THE_RATE),
    "near enough": ("learning rate", NEAR_ENOUGH),
    "nobody chose it": ("learning rate", replace(ADVICE, **USUAL)),
    # Another configuration ends better.
    "surely": ("ends best", with_endings(ADVICE, better_by=-0.01, verdict="open")),
    "perhaps": ("still open", OPEN_END),
    "perhaps, not surely": ("ends best", OPEN_END),
    "what is named": ("still open", ENDED),
    "of a level that was given": (
        "still open",
        replace(OPEN_END, target_origin="given"),
    ),
    "another also fine": ("also fine", replace(ADVICE, flat_set=(512,))),
    "only what is named": ("also fine", replace(ADVICE, flat_set=(1024,))),
    # Laws and the model.
    "off the law": ("law of the steps", with_laws(law_holds=False, curve=())),
    "only the time": ("trained model", ADVICE),
}
