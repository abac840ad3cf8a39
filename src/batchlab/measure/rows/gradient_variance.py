"""gradient-variance: how far the gradient of a batch lies from that of the whole training set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping

from batchlab.records.measurement import Measurement, Moment
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import text

# Of batches as large as an epoch a few must do.
_MOST_BATCHES, _FEWEST_BATCHES = 16, 4


def _gradient_variance(moment: Moment) -> float:
    """Of the trial's own batch size, drawn."""
    from torch import nn

    from batchlab.measure.gradient_noise import drawn_variance

    assert isinstance(moment.model, nn.Module)
    in_an_epoch = moment.trial.n_train // moment.trial.batch_size
    return drawn_variance(
        moment.workload,
        moment.model,
        moment.trial,
        device=moment.device,
        seed=moment.trial.seed,
        n_batches=min(_MOST_BATCHES, max(_FEWEST_BATCHES, in_an_epoch)),
    )


def expected_variance(seen: Mapping[int, float], study: Study) -> dict[int, float]:
    """What sampling must give: tr Sigma / B, without replacement times (N - B) / (N - 1).

    Tr Sigma is the geometric mean of what each batch size says of it.

    Args:
        seen: the variance by batch size, at the same weights.
        study: says N and how examples were drawn; of both ways together nothing is expected.
    """
    n_train = study.workload.n_train
    ways = {record.trial.sampling for record in study.records}
    if len(ways) != 1:
        return {}
    share = {size: 1 / size for size in seen}
    if ways == {"reshuffle"}:
        share = {size: (n_train - size) / (n_train - 1) / size for size in seen if size < n_train}
    traces = [seen[size] / part for size, part in share.items() if seen[size] > 0]
    if not traces:
        return {}
    trace = math.exp(statistics.fmean(map(math.log, traces)))
    return {size: trace * part for size, part in share.items()}


def _notes(study: Study) -> Iterator[str]:
    yield text(
        "The variance of the gradient is how far the gradients of batches, drawn at the initial "
        "weights, lie from one another (mean squared distance). Twice the batch has half of it, "
        "and the whole training set in one batch none. The dashed line is what sampling must give "
        "(McCandlish et al. 2018, https://arxiv.org/abs/1812.06162)."
    )


MEASUREMENT = Measurement(
    quantity=quantity("gradient_variance"),
    needs="step",
    cost="the gradients of 4 to 16 batches at the start and where an epoch ends",
    over_seeds="mean",
    figure="at_the_start",
    on_request=True,
    at_step=_gradient_variance,
    expected=expected_variance,
    notes=_notes,
)
