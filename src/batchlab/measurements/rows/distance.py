"""distance: how far the weights have come from where they began."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text
from batchlab.words.message import N_


def _distance(moment: Moment) -> float:
    """Of all trainable parameters together from the initial ones."""
    from batchlab.measurements.weight_distance import distance_between

    return distance_between(moment.model.parameters(), moment.initial)


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "The distance from the initial weights grows about as the logarithm of the steps at a "
        "large rate, so that what takes fewer steps stays nearer (Hoffer et al. 2017, "
        "https://arxiv.org/abs/1705.08741)."
    )
    yield from _growth_text(study)


def _growth_text(study: Study) -> Iterator[str]:
    """What it did here, in the run with the most steps."""
    from batchlab.laws.distance_growth import distance_growth  # it loads SciPy

    ran = [
        record for record in study.records if record.status is not None and record.status.ended_well
    ]
    if not ran:
        return
    longest = max(ran, key=lambda record: record.evaluations[-1].step)
    values = [(each.step, each.measurement("distance")) for each in longest.evaluations]
    found = distance_growth([(step, value) for step, value in values if value is not None])
    if found is None:
        return
    message = _AS_LOG if found.log_error <= found.power_error else _AS_POWER
    yield text(
        message,
        size=longest.trial.batch_size,
        step=longest.evaluations[-1].step,
        doubling=found.per_doubling,
        log_error=100 * found.log_error,
        power=found.exponent,
        power_error=100 * found.power_error,
    )


_AS_LOG = N_(
    "Here, at batch size {size} over the last tenfold of its {step} steps, it grew more like the "
    "logarithm ({doubling:two_digits} more with every doubling of the steps, "
    "{log_error:two_digits} % off) than like a power of the steps (exponent {power:two_digits}, "
    "{power_error:two_digits} % off)."
)
_AS_POWER = N_(
    "Here, at batch size {size} over the last tenfold of its {step} steps, it grew more like a "
    "power of the steps (exponent {power:two_digits}, {power_error:two_digits} % off) than like "
    "their logarithm ({doubling:two_digits} more with every doubling of the steps, "
    "{log_error:two_digits} % off)."
)


MEASUREMENT = Measurement(
    quantity=quantity("distance"),
    needs="step",
    cost="one pass over the parameters at each evaluation, and a copy of the initial ones",
    over_seeds="mean",
    figure="along_training",
    at_step=_distance,
    notes=_notes,
)
