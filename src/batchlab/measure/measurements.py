"""The table of the quantities that are measured of a model during training.

Each row of `MEASUREMENTS` describes one quantity for the store, the CSV files, the report page and
`--help`. The module `at_steps` contains the functions that measure the quantities.
"""

from __future__ import annotations

from collections.abc import Collection

from batchlab.errors import UsageError
from batchlab.records.estimate import Reason
from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity

MEASUREMENTS = (
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
