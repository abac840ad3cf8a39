"""Cases of advices: what one sentence of an answer has to tell, and the advice that it tells it of.

Each is an advice in which one field is another. What is said of it is on the golden page.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tests.reference.made_up_advice import (
    KINDS,
    around,
    cannot_tell_advice,
    made_up_advice,
    with_endings,
)

from batchlab.advice.advice import Advice
from batchlab.records.estimate import Estimate, Reason

ADVICE, OPEN = made_up_advice(), cannot_tell_advice()
BOUND, ENDED = KINDS["reference_missed"](), with_endings(ADVICE)
OPEN_END = with_endings(replace(ADVICE, chance=0.9), better_by=-0.0006, verdict="open")
LEARNED = {"epochs": 5.0, "metric": "accuracy", "value": 0.11, "first": 0.1}
named, stays = partial(replace, ADVICE), partial(replace, OPEN)


def at_rate(learning_rate: float) -> Advice:
    """The advice to somebody who trains with this rate."""
    return named(reference=replace(ADVICE.reference, learning_rate=learning_rate))


BY_TOPIC: dict[str, dict[str, Advice]] = {
    "why": {
        "likely": named(chance=0.83),
        "not sure": named(chance=0.55),
        "given": named(target_origin="given"),
        "its end was seen": ENDED,
        "likely, beside the usual": named(chance=0.87, is_usual=True),
        "a bound": BOUND,
        "hardly learns": named(hardly_learns=Reason.of("hardly_learns", **LEARNED)),
        "another came nearest": OPEN,
        "not worth its risk": stays(
            reason=Reason.of("risk_outweighs", size=128, rate=0.08, tenths=8)
        ),
        **{
            code: stays(reason=Reason.of(code))
            for code in ("nothing_likely_faster", "no_larger_likely", "nothing_likely_better")
        },
    },
    "answer": {
        "keeps the batch size": named(reference=replace(ADVICE.recommendation, learning_rate=0.01)),
        "in micro-batches": BOUND,
        "stays": OPEN,
        "stays, beside the usual": stays(reference=ADVICE.reference, is_usual=True),
        "nothing ran": stays(provisional=None),
    },
    "learning rate": {
        "far too low": ADVICE,
        "far too high": at_rate(0.4),
        "batch size may add nothing": named(
            gain=around(1.6, 0.2), gain_from_batch_size=around(1.3, 0.3)
        ),
        "the rate gains nothing": named(gain=around(2.0), gain_from_batch_size=around(2.0)),
        "perhaps nothing is gained": named(
            gain=around(1.3, 0.4), gain_from_batch_size=around(1.0, 0.2)
        ),
        "the batch size stays": named(
            recommendation=ADVICE.reference_tuned,
            gain=around(2.5),
            gain_from_batch_size=Estimate.of(1.0, interval=(1.0, 1.0), n=1),
        ),
        "near enough": at_rate(0.04),
        "nobody chose it": named(is_usual=True),
    },
    # Another configuration ends better.
    "ends best": {
        "surely": with_endings(ADVICE, better_by=-0.01, verdict="open"),
        "perhaps, not surely": OPEN_END,
    },
    "still open": {
        "perhaps": OPEN_END,
        "what is named": ENDED,
        "of a level that was given": replace(OPEN_END, target_origin="given"),
    },
    "also fine": {
        "another also fine": named(flat_set=(512,)),
        "only what is named": named(flat_set=(1024,)),
    },
    "law of the steps": {
        "off the law": named(laws=replace(ADVICE.laws, law_holds=False, curve=())),
    },
    "trained model": {"only the time": ADVICE},
}
CASES = {
    case: (topic, advice) for topic, cases in BY_TOPIC.items() for case, advice in cases.items()
}
