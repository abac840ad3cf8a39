"""The table of the quantities that are measured of a model during training.

Each row of `MEASUREMENTS` describes one quantity for the store, the CSV files, the report page and
`--help`. The module `at_steps` contains the functions that measure the quantities.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping

from batchlab.errors import UsageError
from batchlab.records.estimate import Reason
from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity
from batchlab.records.study import Study


def expected_variance(seen: Mapping[int, float], study: Study) -> dict[int, float]:
    """Return the gradient variance tr Sigma / B that theory predicts for each batch size B.

    If batches are drawn without replacement from N examples, the prediction is multiplied by
    (N - B) / (N - 1). tr Sigma is the variance of one example's gradient: each measured variance in
    `seen` gives an estimate of tr Sigma, and the geometric mean of these estimates is used.
    """
    n_train = study.workload.n_train
    samplings = {record.trial.sampling for record in study.records}
    if len(samplings) != 1:
        return {}
    shares, log_traces = dict[int, float](), list[float]()
    for size, variance in seen.items():
        share = 1 / size
        if samplings == {"reshuffle"}:
            share = (n_train - size) / max(1, n_train - 1) / size
        if share > 0:
            shares[size] = share
        if share > 0 and variance > 0:
            log_traces.append(math.log(variance / share))
    if not log_traces:
        return {}
    trace = math.exp(statistics.fmean(log_traces))
    return {size: trace * share for size, share in shares.items()}


MEASUREMENTS = (
    Measurement(quantity=quantity("gradient_norm")),
    Measurement(quantity=quantity("distance")),
    Measurement(quantity=quantity("parameter_norm")),
    Measurement(
        quantity=quantity("noise_scale"),
        figure="along_training",
        on_request=True,
        notes=(Reason.of("noise_scale_is"),),
    ),
    Measurement(
        quantity=quantity("gradient_variance"),
        figure="at_the_start",
        on_request=True,
        expected=expected_variance,
        notes=(Reason.of("variance_is"),),
    ),
    Measurement(
        quantity=quantity("sharpness"),
        figure="at_the_end",
        on_request=True,
        notes=(Reason.of("sharpness_is"), Reason.of("sharpness_disputed")),
    ),
)


def measurement_rows() -> dict[str, Measurement]:
    """Return the rows of `MEASUREMENTS` by the name of their quantity."""
    return {row.quantity.name: row for row in MEASUREMENTS}


def on_request() -> tuple[str, ...]:
    """Return the names of the quantities that are measured only on request."""
    return tuple(row.quantity.name for row in MEASUREMENTS if row.on_request)


def checked_on_request(names: Collection[str]) -> tuple[str, ...]:
    """Return the requested names without repetitions, in the order of `MEASUREMENTS`.

    Raises:
        UsageError: a name is not in `on_request()`, or `names` is a single string.
    """
    options = on_request()
    if isinstance(names, str):
        raise UsageError(f"measure {names!r}: expected several, such as ({options[0]!r},)")
    for name in names:
        if name not in options:
            raise UsageError(f"measure {name!r}: expected one of {', '.join(options)}")
    return tuple(sorted(set(names), key=options.index))
