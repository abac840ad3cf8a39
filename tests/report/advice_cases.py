"""Cases of advices: what one sentence of an answer has to tell, and the advice that it tells it of.

Each is an advice in which one field is another. What is said of it is on the golden page.
"""

from __future__ import annotations

from dataclasses import replace

from tests.reference.made_up_advice import (
    KINDS,
    UNTOLD,
    around,
    cannot_tell_advice,
    made_up_advice,
    with_endings,
)

from batchlab.advice.advice import Advice, Candidate
from batchlab.records.estimate import Estimate, Reason

written = Reason.as_written
ADVICE = made_up_advice()
OPEN = cannot_tell_advice()
WIDE = Estimate.of(1.05, interval=(1.0, 1.4), n=3)


def with_candidates(advice: Advice, **fields: dict[str, object]) -> Advice:
    """The advice with other fields of single batch sizes, `b64={...}`."""

    def changed(candidate: Candidate) -> Candidate:
        new = fields.get(f"b{candidate.batch_size}")
        return candidate if new is None else replace(candidate, **({"in_flat_set": False} | new))

    return replace(advice, candidates=tuple(map(changed, advice.candidates)))


def with_laws(**changes: object) -> Advice:
    """The advice with other laws."""
    return replace(ADVICE, laws=replace(ADVICE.laws, **changes))


def with_ends(advice: Advice = ADVICE, *, of: str = "named", **changes: object) -> Advice:
    """The advice with whole trainings of which one end is another."""
    advice = with_endings(advice, verdict="open")
    ending = replace(getattr(advice.endings, of), **changes)
    return replace(advice, endings=replace(advice.endings, **{of: ending}))


def beside_itself(advice: Advice) -> Advice:
    """The advice whose named configuration is what others are compared with."""
    endings = advice.endings
    return replace(advice, endings=replace(endings, compared_with=endings.named))


def faster(rate: float, size: int, reference_s: float, ratio: float) -> Advice:
    """The advice of a configuration whose steps take their time, and that gains so much."""
    times_ms = {16: 2.0, 64: reference_s, 1024: 2.86}
    sizes = {
        f"b{c.batch_size}": {"step_s": around(times_ms.get(c.batch_size, 2.0) * 1e-3)}
        for c in ADVICE.candidates
    }
    recommended = replace(ADVICE.recommendation, batch_size=size, learning_rate=rate)
    advice = replace(ADVICE, recommendation=recommended, gain=around(ratio))
    return with_candidates(advice, **sizes)


NEVER_ENDED = {"values": (None, None, None)}
ALL_WIDE = with_candidates(ADVICE, **{f"b{n}": {"relative": WIDE} for n in (16, 32, 64, 128)})
OTHER_RATE = replace(ADVICE, reference=replace(ADVICE.recommendation, learning_rate=0.01))
NOT_TRAINED = {"learning_rate": None, "n_runs": 0, "relative": UNTOLD, "cost": UNTOLD}
QUALITY = KINDS["quality"]()
OF_GIVEN_LENGTH = replace(
    QUALITY,
    target=None,
    expected=replace(
        QUALITY.expected, epochs_to_target=Estimate.of(10.0, interval=(10.0, 10.0), n=1)
    ),
)
QUALITY = replace(made_up_advice(objective="quality"), metric="loss", better="lower")
ENDED = with_endings(ADVICE)
USUAL = {"is_usual": True}
TUNED_STAYS = beside_itself(
    with_endings(replace(OPEN, provisional=ADVICE.reference_tuned, **USUAL))
)
FLAT = made_up_advice(steps=lambda b: 500.0 * (1 + (b / 64 - 1) ** 2), step_s=lambda b: 1e-3)

CASES: dict[str, tuple[str, Advice]] = {
    "likely": ("answer", replace(ADVICE, chance=0.83)),
    "not sure": ("answer", replace(ADVICE, chance=0.55)),
    "given": ("answer", replace(ADVICE, target_origin="given")),
    "its end was seen": ("answer", ENDED),
    "likely, beside the usual": ("answer", replace(ADVICE, chance=0.87, **USUAL)),
    "yours seems to": ("ends best", with_endings(ADVICE, better_by=-0.0006, verdict="open")),
    "nothing better": ("ends best", with_endings(ADVICE)),
    "keeps the batch size": ("answer", OTHER_RATE),
    "nothing from the batch size": ("from the batch size alone", OTHER_RATE),
    # The two gains.
    "smaller": ("gain", replace(ADVICE, gain=around(0.5, 0.1))),
    "perhaps a loss": ("gain", replace(ADVICE, gain=around(0.9, 0.2))),
    "unknown": ("gain", replace(QUALITY, gain=UNTOLD)),
    "a bound": ("answer", KINDS["reference_missed"]()),
    "a bound, the gain": ("gain", KINDS["reference_missed"]()),
    "the own rate was better": (
        "from the batch size alone",
        replace(ADVICE, gain=around(1.6, 0.2), gain_from_batch_size=around(2.2, 0.2)),
    ),
    "the part of the batch size is open": (
        "from the batch size alone",
        replace(ADVICE, gain=around(1.6, 0.2), gain_from_batch_size=around(1.3, 0.3)),
    ),
    # The usual sizes.
    "in the flat set": ("usual sizes", FLAT),
    "all open": ("usual sizes", ALL_WIDE),
    "one failed": ("usual sizes", with_candidates(ADVICE, b16=NOT_TRAINED)),
    "not trained": (
        "usual sizes",
        replace(
            with_candidates(ADVICE, b16=NOT_TRAINED, b32=NOT_TRAINED),
            tried=tuple(run for run in ADVICE.tried if run.batch_size > 32),
        ),
    ),
    # Laws and the target.
    "off the law": ("law of the steps", with_laws(law_holds=False, curve=())),
    "of a level that was given": ("when to stop", replace(ADVICE, target_origin="given")),
    # What it cost.
    "pays at once": ("break-even", replace(ADVICE, pay_back_runs=0.4)),
    "may never pay": ("break-even", replace(ADVICE, pay_back_runs=None, gain=around(1.0, 0.2))),
    "of a given length": ("when to stop", OF_GIVEN_LENGTH),
    # What stays.
    "stays": ("answer", OPEN),
    "stays, samples": ("answer", replace(OPEN, objective="samples")),
    "stays, quality": ("answer", replace(OPEN, objective="quality", target=None)),
    "stays, beside the usual": (
        "answer",
        replace(OPEN, provisional=ADVICE.reference_tuned, **USUAL),
    ),
    "nothing ran": ("answer", replace(OPEN, provisional=None)),
    # The model.
    "only the time": ("trained model", ADVICE),
    # Why, in steps and step times.
    "smaller and faster": ("why", faster(0.01, 16, 8.0, 2.0)),
    "larger, beside the usual": ("why", replace(faster(0.26, 1024, 2.0, 5.0), **USUAL)),
    "the same size": ("why", faster(0.0025, 64, 2.0, 3.0)),
    "other objective": ("why", replace(ADVICE, objective="samples")),
    # Where whole trainings end.
    "at another rate": ("where it ends", with_ends(batch_size=64, learning_rate=0.04)),
    "of a loss": ("where it ends", replace(ENDED, endings=replace(ENDED.endings, margin=0.004))),
    "better for sure": ("where it ends", with_endings(ADVICE, better_by=0.003)),
    "of what overfits": (
        "where it ends",
        replace(ENDED, caveats=(Reason.of("reference_overfits"),)),
    ),
    "tuned was not": ("where it ends", with_ends(of="tuned", **NEVER_ENDED)),
    "another also fine": ("also fine", replace(ADVICE, flat_set=(512,))),
    "ends worse": ("where it ends", with_endings(ADVICE, verdict="worse", better_by=-0.004)),
    "tuned ends better": (
        "where it ends",
        replace(
            ENDED,
            endings=replace(ENDED.endings, verdict="worse", compared_with=ENDED.endings.tuned),
        ),
    ),
    "it stays": ("where it ends", with_endings(OPEN)),
    "the tuned one stays": ("where it ends", TUNED_STAYS),
}
