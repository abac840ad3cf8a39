"""distance: how far the weights have come from where they began."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text


def _distance(moment: Moment) -> float:
    """Of all trainable parameters together from the initial ones."""
    from batchlab.measure.distance import distance_between

    return distance_between(moment.model.parameters(), moment.initial)


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "The distance from the initial weights grows about as the logarithm of the steps at a "
        "large rate. So what takes fewer steps stays nearer (Hoffer et al. 2017, "
        "https://arxiv.org/abs/1705.08741)."
    )
    yield from _growth_text(study)


def _growth_text(study: Study) -> Iterator[str]:
    """What it did here, in the training with the most steps."""
    from batchlab.laws.noise_scale import distance_growth

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
    yield text(
        _GROWTH[found.nearer],
        size=longest.trial.batch_size,
        rate=longest.trial.learning_rate,
        first=found.first_step,
        last=found.last_step,
        doubling=found.per_doubling,
        log_error=100 * found.log_error,
        power=found.exponent,
        power_error=100 * found.power_error,
    )


_GROWTH = {
    "logarithm": (
        "Here, at batch size {size} and learning rate {rate:rate} from step {first} to {last}, it "
        "grew like the logarithm of the steps: {doubling:two_digits} more with every doubling, "
        "{log_error:two_digits} % off. A power of the steps is {power_error:two_digits} % off."
    ),
    "power": (
        "Here, at batch size {size} and learning rate {rate:rate} from step {first} to {last}, it "
        "grew like a power of the steps: exponent {power:two_digits}, {power_error:two_digits} % "
        "off. Their logarithm is {log_error:two_digits} % off."
    ),
    "either": (
        "Here, at batch size {size} and learning rate {rate:rate} from step {first} to {last}, two "
        "laws can't be told apart. The logarithm of the steps is {log_error:two_digits} % off, "
        "their power of {power:two_digits} is {power_error:two_digits} % off."
    ),
}


MEASUREMENT = Measurement(
    quantity=quantity("distance"),
    needs="step",
    cost="one pass over the parameters at each evaluation, and a copy of the initial ones",
    over_seeds="mean",
    figure="along_training",
    at_step=_distance,
    notes=_notes,
)
