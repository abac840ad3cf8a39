"""The report of gradient noise along a training, in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from batchlab.measure.noise import Noise, NoisePoint
from batchlab.report.table import MOST_NOTES, Column, Section, Table, table_of
from batchlab.report.text import interval_only_text
from batchlab.words.catalogue import number_text, sentence, text
from batchlab.words.reasons import reason_text

# Noise is called small if its mean square in a batch gradient is <= this times the full |G|².
_HARDLY_NOISE = 0.1


def noise_section(noise: Noise) -> Section:
    """Return what the noise means for the batch size, a row per measured step, and notes."""
    notes = tuple(_notes(noise))[:MOST_NOTES]
    return Section(title=_meaning(noise), table=_table(noise), notes=notes)


# ---- tables


def _table(noise: Noise) -> Table:

    def epochs(point: NoisePoint) -> float:
        return point.samples / noise.workload.n_train

    def interval(point: NoisePoint) -> str:
        return interval_only_text("critical_batch_size", point.gradient_noise_scale)

    scale = attrgetter("gradient_noise_scale.estimate")
    grad_sq = attrgetter("gradient_norm_squared.estimate")
    trace = attrgetter("noise_trace.estimate")
    workload = noise.workload
    rate = number_text(workload.learning_rate, "rate")
    return table_of(
        f"Gradient noise of {workload.name}, trained with batch size {workload.batch_size} "
        f"at learning rate {rate}",
        noise.along,
        Column("step"),
        Column("epoch", "epochs_to_target", "epochs", of=epochs, is_minor=True),
        Column("gradient_noise_scale", "critical_batch_size", "noise scale", of=scale),
        Column("interval", label="95 %", of=interval),
        Column("grad_sq", "ratio", "|G|²", of=grad_sq, is_minor=True),
        Column("trace", "ratio", "tr Σ", of=trace, is_minor=True),
        Column("n_examples", "step", text("examples"), is_minor=True),
    ).without_empty_columns()


# ---- words


def _notes(noise: Noise) -> Iterator[str]:
    """Yield notes on what limited the measurement, then on how the noise scale changed."""
    if noise.stopped is not None:
        yield f"Not measured to the end: {reason_text(noise.stopped)}."
    lost = list(filter(None, map(attrgetter("gradient_noise_scale.reason"), noise.along)))
    if lost:
        yield sentence("noise_lost", reason=reason_text(lost[0]))
    yield from _growth(noise)
    yield sentence("noise_is_not_critical")


def _meaning(noise: Noise) -> str:
    scale, step, size = noise.gradient_noise_scale, noise.along[-1].step, noise.workload.batch_size
    if scale.estimate is None:
        bound = "unknown"
        if scale.low is not None:
            bound = text("above {low:critical_batch_size} examples", low=scale.low)
        return sentence("noise_bound", step=step, bound=bound)
    # Correct for drawing without replacement, so that the full batch has no noise.
    n_train = noise.workload.n_train
    ratio = scale.estimate / size * (n_train - size) / max(1, n_train - 1)
    if ratio <= _HARDLY_NOISE:
        return sentence("noise_is_small", step=step, scale=scale.estimate, size=size)
    share = ratio / (1 + ratio)
    return sentence("noise_of_batch", step=step, scale=scale.estimate, size=size, share=share)


def _growth(noise: Noise) -> Iterator[str]:
    measured: list[tuple[int, float]] = []
    for point in noise.along:
        if point.gradient_noise_scale.estimate is not None:
            measured.append((point.step, point.gradient_noise_scale.estimate))
    if len(measured) > 1:
        (first_step, first), *_, (last_step, last) = measured
        steps = {"first_step": first_step, "last_step": last_step}
        yield sentence("noise_changes", first=first, last=last, **steps)
