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
    tried,
    tuned_rate,
    with_endings,
)

from batchlab.advice.advice import Advice, Candidate, Configuration
from batchlab.records.estimate import Estimate, Reason

written = Reason.as_written
ADVICE = made_up_advice()
OPEN = cannot_tell_advice()
WIDE = Estimate.of(1.05, interval=(1.0, 1.4), n=3)
BOUND = Estimate(estimate=None, low=1.8, high=None, n=3, reason=written("x"))
MISSED = Estimate(estimate=None, low=1.7, high=None, n=0, reason=written("no rate tried met it"))


def with_candidates(advice: Advice, **fields: dict[str, object]) -> Advice:
    """The advice with other fields of single batch sizes, `b64={...}`."""

    def changed(candidate: Candidate) -> Candidate:
        new = fields.get(f"b{candidate.batch_size}")
        return candidate if new is None else replace(candidate, **({"in_flat_set": False} | new))

    return replace(advice, candidates=tuple(map(changed, advice.candidates)))


def with_laws(**changes: object) -> Advice:
    """The advice with other laws."""
    return replace(ADVICE, laws=replace(ADVICE.laws, **changes))


def with_ends(advice: Advice = ADVICE, *, of: str = "recommended", **changes: object) -> Advice:
    """The advice with whole trainings of which one end is another."""
    advice = with_endings(advice, verdict="open")
    ending = replace(getattr(advice.endings, of), **changes)
    return replace(advice, endings=replace(advice.endings, **{of: ending}))


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
KEPT = replace(ADVICE, reference=ADVICE.recommendation)
OTHER_RATE = replace(ADVICE, reference=replace(ADVICE.recommendation, learning_rate=0.01))
NOT_TRAINED = {"learning_rate": None, "n_runs": 0}
QUALITY = KINDS["quality"]()
OF_GIVEN_LENGTH = replace(
    QUALITY,
    target=None,
    expected=replace(
        QUALITY.expected, epochs_to_target=Estimate.of(10.0, interval=(10.0, 10.0), n=1)
    ),
)
BOUNDED = with_candidates(
    ADVICE,
    b16={"relative": MISSED, **NOT_TRAINED},
    b32={"relative": Estimate.cannot_tell(written("it was not tried")), **NOT_TRAINED},
)
RACED = replace(
    OPEN,
    reason=Reason.of("single_runs"),
    endings=None,
    provisional=Configuration(batch_size=256, micro_batch_size=256, learning_rate=0.113),
)
RUN = replace(RACED, provisional=replace(RACED.provisional, learning_rate=tuned_rate(256)))
SCALED = Reason.of("scaled_step", chance=0.87, n=1)
DOUBLED = Reason.of("doubled_unseen", chance=0.83)
TUNED = Configuration(batch_size=64, micro_batch_size=64, learning_rate=0.04)
QUALITY = replace(made_up_advice(objective="quality"), metric="loss", better="lower")
ENDED = with_endings(ADVICE)
USUAL = {"is_usual": True}
WORSE_ENDS = with_candidates(ADVICE, b4096={"note": Reason.of("ends_worse")})
FLAT = made_up_advice(steps=lambda b: 500.0 * (1 + (b / 64 - 1) ** 2), step_s=lambda b: 1e-3)

CASES: dict[str, tuple[str, Advice]] = {
    "was run": ("answer", RUN),
    "likely": ("answer", replace(RUN, chance=0.87)),
    "both raised": ("answer", replace(RUN, chance=0.87, gain=around(2.0, 0.3), caveats=(SCALED,))),
    "both raised, unseen": ("answer", replace(RUN, chance=0.83, gain=UNTOLD, caveats=(DOUBLED,))),
    "sure": ("answer", replace(RUN, chance=0.98)),
    "likely, beside the usual": ("answer", replace(RUN, chance=0.87, **USUAL)),
    "a bound, beside the usual": ("answer", replace(ADVICE, gain=BOUND, **USUAL)),
    "yours ends better": ("ends best", with_endings(ADVICE, better_by=-0.006, verdict="worse")),
    "yours seems to": ("ends best", with_endings(ADVICE, better_by=-0.0006, verdict="open")),
    "nothing better": ("ends best", with_endings(ADVICE)),
    "keeps all": ("answer", KEPT),
    "keeps all, gain": ("gain", KEPT),
    "keeps all, batch size": ("from the batch size alone", KEPT),
    "keeps the batch size": ("answer", OTHER_RATE),
    "nothing from the batch size": ("from the batch size alone", OTHER_RATE),
    # The two gains.
    "smaller": ("gain", replace(ADVICE, gain=around(0.5, 0.1))),
    "perhaps a loss": ("gain", replace(ADVICE, gain=around(0.9, 0.2))),
    "one seed": ("gain", replace(ADVICE, gain=Estimate.of(2.0, interval=(None, None), n=1))),
    "unknown": ("gain", replace(ADVICE, gain=UNTOLD)),
    "a bound": ("gain", replace(ADVICE, gain=BOUND)),
    "a bound that says nothing": ("gain", replace(ADVICE, gain=replace(BOUND, low=0.001))),
    "the own rate was better": (
        "from the batch size alone",
        replace(ADVICE, gain=around(1.6, 0.2), gain_from_batch_size=around(2.2, 0.2)),
    ),
    "the part of the batch size is open": (
        "from the batch size alone",
        replace(ADVICE, gain=around(1.6, 0.2), gain_from_batch_size=around(1.3, 0.3)),
    ),
    "of an older answer": ("gain", replace(QUALITY, metric="")),
    "of a race": ("gain", replace(RACED, gain=Estimate.of(3.0, interval=(1.2, 4.65), n=1))),
    "of a race that names nothing": (
        "gain",
        replace(RACED, provisional=None, gain=Estimate.of(3.0, interval=(1.2, 4.65), n=1)),
    ),
    # The usual sizes.
    "in the flat set": ("usual sizes", FLAT),
    "all open": ("usual sizes", replace(ALL_WIDE, gain_from_batch_size=WIDE)),
    "yours by its fresh seeds": (
        "usual sizes",
        replace(ALL_WIDE, gain_from_batch_size=Estimate.of(2.0, interval=(1.6, 2.6), n=3)),
    ),
    "off the curve": ("usual sizes", with_candidates(ADVICE, b16=NOT_TRAINED)),
    "out of memory": ("usual sizes", with_candidates(BOUNDED, b32={"fits": False})),
    "missed the target": ("usual sizes", replace(BOUNDED, tried=(tried(16),))),
    "bounded without a run": ("usual sizes", replace(BOUNDED, tried=())),
    # Laws and the target.
    "without the law": ("critical batch size", with_laws(law_holds=False)),
    "without a curve": ("law of the steps", with_laws(curve=())),
    "given": ("when to stop", replace(ADVICE, target_origin="given")),
    # What it cost.
    "pays at once": ("break-even", replace(ADVICE, pay_back_runs=0.4)),
    "may never pay": ("break-even", replace(ADVICE, pay_back_runs=None, gain=around(1.0, 0.2))),
    # The best so far.
    "raced": ("answer", RACED),
    "seems to end worse": (
        "answer",
        replace(with_endings(OPEN, better_by=-0.004, verdict="open"), provisional=TUNED),
    ),
    "not trained to its end": (
        "answer",
        replace(with_ends(OPEN, **NEVER_ENDED), provisional=TUNED),
    ),
    "of unknown memory": (
        "answer",
        with_candidates(KINDS["indifferent"](), b16={"peak_bytes": None, "in_flat_set": True}),
    ),
    "of a given length": ("when to stop", OF_GIVEN_LENGTH),
    "below the soonest": (
        "answer",
        replace(
            RUN,
            caveats=(Reason.of("below_the_soonest", size=256, rate=0.08, soonest=0.16),),
        ),
    ),
    "kept for now": (
        "answer",
        replace(ADVICE, verdict="cannot_tell", recommendation=None, provisional=ADVICE.reference),
    ),
    # What would settle it.
    "not said twice": (
        "what would settle it",
        replace(
            OPEN,
            reason=Reason.of("runs_leave_open", missing=written("A and B")),
            missing=written("A and B"),
        ),
    ),
    # The model.
    "only the time": ("trained model", ADVICE),
    # Why, in steps and step times.
    "smaller and faster": ("why", faster(0.01, 16, 8.0, 2.0)),
    "the same size": ("why", faster(0.0025, 64, 2.0, 3.0)),
    "other objective": ("why", replace(ADVICE, objective="samples")),
    # Where whole trainings end.
    "at another rate": ("where it ends", with_ends(batch_size=64, learning_rate=0.04)),
    "of a loss": ("where it ends", replace(ENDED, endings=replace(ENDED.endings, margin=0.004))),
    "better for sure": ("where it ends", with_endings(ADVICE, better_by=0.003)),
    "too few": (
        "where it ends",
        replace(
            ENDED,
            endings=replace(
                ENDED.endings, difference=Estimate.of(0.0004, interval=(None, None), n=1)
            ),
        ),
    ),
    "yours was not": ("where it ends", with_ends(OPEN, of="reference", **NEVER_ENDED)),
    "of what overfits": (
        "where it ends",
        replace(ENDED, caveats=(Reason.of("reference_overfits"),)),
    ),
    "sooner, but out": ("answer", WORSE_ENDS),
    "sooner, but out, also fine": ("also fine", WORSE_ENDS),
    "ends worse": ("where it ends", with_endings(OPEN, verdict="worse", better_by=-0.004)),
}
