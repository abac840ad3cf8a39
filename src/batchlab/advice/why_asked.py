"""Why asked: in few words, why an advice asks for runs."""

from __future__ import annotations

from batchlab.advice.parts import Purpose, Step
from batchlab.records.reason import Reason

# What is asked of runs where the step before them does not say more.
_OF_PURPOSE: dict[Purpose, Reason] = {
    "pilot": Reason.of("asked_for_end"),
    "tune": Reason.of("asked_for_rate"),
    "value": Reason.of("asked_on_fresh_seeds"),
    "verify": Reason.of("asked_to_verify"),
    "cool_down": Reason.of("asked_for_cool_down"),
}


# Why a step was taken, where that is why the runs after it were asked for.
_SAYS_IT = ("race_against", "harder_target_decided_too")


def why_asked(purpose: Purpose, step: Step | None) -> Reason:
    """Why runs are asked for: what the last step says, or else what their purpose is.

    Args:
        purpose: of the runs.
        step: the last that was noted, None: none was.
    """
    if step is not None and purpose in ("tune", "value"):
        named = step.why.named
        if step.why.code == "tune_size_why" and isinstance(named["why"], Reason):
            return named["why"]
        if step.why.code in _SAYS_IT:
            return step.why
        if step.did.code == "value_size" and step.why.code != "choosing_seed_flatters":
            return step.why
    return _OF_PURPOSE[purpose]
