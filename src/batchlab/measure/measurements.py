"""The measured quantities, with the source and the notes of each.

Each row of `MEASUREMENTS` is one quantity; store, CSV, page and `--help` read the rows. The module
`at_steps` measures the quantities of a model at a step.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np

from batchlab.errors import UsageError
from batchlab.records.measurement import Measurement
from batchlab.records.quantities import quantity
from batchlab.records.study import Study
from batchlab.words.catalogue import sentence, text

# ---- quantities of a batch size


def _step_time(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    timing = study.timing(batch_size)
    if timing is None:
        return None
    return timing.step_s, tuple(np.divide(timing.block_s, timing.block_steps).tolist())


def _peak_memory(study: Study, batch_size: int) -> tuple[float, tuple[float, ...]] | None:
    peak = study.peak_bytes(batch_size)
    return None if peak is None else (peak, (peak,))


def _step_time_notes(study: Study) -> Iterator[str]:
    if not study.timings:
        yield text("Step time: not measured alone.")
        return
    devices = ", ".join(sorted({timing.device for timing in study.timings}))
    threads = ", ".join(map(str, sorted({timing.threads for timing in study.timings})))
    where = text(" on {devices}, threads: {threads}", devices=devices, threads=threads)
    yield sentence("ran_alone", where=where)
    blocks = max(len(timing.block_s) for timing in study.timings)
    yield text("Large marks: medians of up to {blocks:1 block|# blocks} of steps.", blocks=blocks)
    yield text("Small circles: single blocks. Bars: their range.")
    untimed = [size for size in study.batch_sizes if study.timing(size) is None]
    if untimed:
        yield text("Not measured alone: {sizes}.", sizes=", ".join(map(str, untimed)))


def _peak_memory_notes(study: Study) -> Iterator[str]:
    if {*map(study.peak_bytes, study.batch_sizes)} - {None}:
        yield text("Memory: the peak of the process above an idle one.")
    else:
        yield text("Memory: not reported by this device.")


# ---- quantities of the model at a step


def expected_variance(seen: Mapping[int, float], study: Study) -> dict[int, float]:
    """Return the variance that sampling implies: tr Sigma / B.

    Without replacement the variance is multiplied by (N - B) / (N - 1). The value of tr Sigma is
    the geometric mean of the values computed from each batch size.
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


def _always(code: str) -> Callable[[Study], Iterator[str]]:
    """Return a function that yields the same sentence for every study."""
    return lambda study: iter((sentence(code),))


def _sharpness_notes(directions: str, part: str) -> Callable[[Study], Iterator[str]]:
    """Return a function that yields notes on sharpness in a box with sides of a `part`."""

    def notes(study: Study) -> Iterator[str]:
        yield sentence("sharpness_is", directions=text(directions), part=text(part))
        yield sentence("sharpness_disputed")

    return notes


_IN_100 = " in 100 random directions"
# The number of directions and the sides of the box by the kind of sharpness.
_SHARPNESS = {
    "sharpness": ("", "thousandth"),
    "sharpness_half_box": ("", "two-thousandth"),
    "sharpness_subspace": (_IN_100, "thousandth"),
    "sharpness_subspace_half_box": (_IN_100, "two-thousandth"),
}

MEASUREMENTS = (
    Measurement(
        quantity=quantity("step_s"),
        figure="cost",
        of_batch_size=_step_time,
        short="step",
        notes=_step_time_notes,
    ),
    Measurement(
        quantity=quantity("peak_bytes"),
        figure="cost",
        of_batch_size=_peak_memory,
        of_trial=lambda record: record.peak_bytes,
        short="memory",
        notes=_peak_memory_notes,
    ),
    Measurement(quantity=quantity("gradient_norm")),
    Measurement(quantity=quantity("update_norm")),
    Measurement(quantity=quantity("distance")),
    Measurement(quantity=quantity("parameter_norm")),
    Measurement(
        quantity=quantity("noise_scale"),
        figure="along_training",
        on_request=True,
        notes=_always("noise_scale_is"),
    ),
    Measurement(
        quantity=quantity("gradient_variance"),
        figure="at_the_start",
        on_request=True,
        expected=expected_variance,
        notes=_always("variance_is"),
    ),
    *(
        Measurement(
            quantity=quantity(name),
            figure="at_the_end",
            on_request=True,
            at_ends=True,
            notes=_sharpness_notes(*box),
        )
        for name, box in _SHARPNESS.items()
    ),
    Measurement(
        quantity=quantity("top_eigenvalue"),
        figure="at_the_end",
        on_request=True,
        notes=_always("eigenvalue_is"),
    ),
)


def measurement_rows() -> dict[str, Measurement]:
    """Return every measurement by the name of its quantity."""
    return {row.quantity.name: row for row in MEASUREMENTS}


def on_request() -> tuple[str, ...]:
    """Return the names of the measurements that are taken only on request."""
    return tuple(row.quantity.name for row in MEASUREMENTS if row.on_request)


def checked_on_request(names: Collection[str]) -> tuple[str, ...]:
    """Return the names without repetitions, in the order of the rows.

    Raises:
        UsageError: one of them is not in `on_request`, or `names` is a single string.
    """
    options = on_request()
    if isinstance(names, str):
        raise UsageError(f"measure {names!r}: expected several, such as ({options[0]!r},)")
    for name in names:
        if name not in options:
            raise UsageError(f"measure {name!r}: expected one of {', '.join(options)}")
    return tuple(sorted(set(names), key=options.index))
