"""noise-scale: the batch size whose gradient is half noise, at a moment of a training."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text

# Bounds what a point costs; a noise scale beyond about a quarter of it is known roughly only.
_MOST_EXAMPLES = 16_384


def _noise_scale(moment: Moment) -> float | None:
    """None where the gradient is lost in the noise of the examples seen."""
    from torch import nn

    from batchlab.laws.noise_scale import noise_scale
    from batchlab.measure.gradient_noise import GradientNoise

    assert isinstance(moment.model, nn.Module)
    noise = GradientNoise(moment.workload, moment.device)
    # The same examples each time: what the points of a curve share cancels.
    point = noise.sample(moment.model, seed=0, most_examples=_MOST_EXAMPLES)
    return noise_scale(point.sample).scale.estimate


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "The noise scale is the batch size at which half of a gradient's squared length is noise. "
        "It usually grows while the loss falls. It is not a critical batch size (McCandlish et "
        "al. 2018, https://arxiv.org/abs/1812.06162)."
    )


MEASUREMENT = Measurement(
    quantity=quantity("noise_scale"),
    needs="step",
    cost="the gradients of up to 16,384 single examples at the start and where an epoch ends",
    over_seeds="mean",
    figure="along_training",
    on_request=True,
    at_step=_noise_scale,
    notes=_notes,
)
