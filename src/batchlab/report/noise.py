"""How noisy a gradient is along a training: tables, and text for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from batchlab.measure.noise import Noise, NoisePoint, Sampled
from batchlab.report.table import Column, Table, table_of
from batchlab.report.text import interval_only_text, listed, wrapped_text
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text

# A batch so many times as large as the noise scale has hardly any noise left: a tenth.
_HARDLY_NOISE = 0.1
_NOISY = (
    "At step {step} the noise scale is {scale:critical_batch_size} examples. In a batch of "
    "{size}, {share:whole_percent} of the gradient's squared length is noise."
)
_CLEAR = (
    "At step {step} the noise scale is {scale:critical_batch_size} examples. The gradient of a "
    "batch of {size} is nearly that of the whole training set."
)
_BOUND = "At step {step} the noise scale is above {low:critical_batch_size} examples."
_UNKNOWN = "At step {step} the noise scale can't be told."
_GROWTH = (
    "It goes from {first:critical_batch_size} at step {first_step} to {last:critical_batch_size} "
    "at step {last_step}: {change}."
)
_GROWTH_BEFORE = (
    "Before that it goes from {first:critical_batch_size} at step {first_step} to "
    "{last:critical_batch_size} at step {last_step}: {change}."
)


def noise_text(noise: Noise) -> str:
    """What the noise scale means for the batch size in use, then tables, for a terminal."""
    tables = [noise_table(noise), *([layers_table(noise)] if noise.along[-1].layers else [])]
    shown = "\n\n".join(table.to_text() for table in tables)
    return f"{wrapped_text(noise_title(noise))}\n\n{listed(noise_facts(noise))}\n\n{shown}\n"


def noise_headline(noise: Noise) -> str:
    """What is read first: the noise scale at the last step."""
    return f"{wrapped_text(next(noise_facts(noise)))}\n"


def noise_title(noise: Noise) -> str:
    """What was measured."""
    return text(
        "Gradient noise of {workload}, trained with batch size {size} at learning rate {rate:rate}",
        workload=noise.workload.name,
        size=noise.workload.batch_size,
        rate=noise.workload.learning_rate,
    )


def noise_table(noise: Noise) -> Table:
    """One row a point of the training."""
    n_train = noise.workload.n_train

    def interval(point: NoisePoint) -> str:
        return text("all examples") if point.is_whole else _interval(point)

    def adam(point: NoisePoint) -> float | None:
        return None if point.preconditioned is None else point.preconditioned.estimate

    return table_of(
        text("Gradient noise of {workload} by step", workload=noise.workload.name),
        noise.along,
        Column("step"),
        Column("epoch", "epochs_to_target", text("epochs"), of=lambda p: p.samples / n_train),
        *_scale_columns(interval),
        Column("preconditioned", "critical_batch_size", text("for Adam"), of=adam),
        Column("n_examples", "step", text("examples")),
    ).without_empty_columns()


def layers_table(noise: Noise) -> Table:
    """One row a trainable parameter, at the last point."""
    last = noise.along[-1]
    return table_of(
        text("Gradient noise of each parameter at step {step}", step=last.step),
        last.layers,
        Column("parameter", label=text("parameter"), of=lambda layer: layer.name),
        *_scale_columns(_interval),
    )


def _scale_columns(interval: Callable[[Any], str]) -> tuple[Column, ...]:
    """Of what every row has: the noise scale and what it is the ratio of."""
    return (
        Column("gradient_noise_scale", "critical_batch_size", text("noise scale"), of=_scale),
        Column("interval", label=text("95 %"), of=interval),
        Column("grad_sq", "ratio", "|G|²", of=lambda each: each.gradient_norm_squared.estimate),
        Column("trace", "ratio", "tr Σ", of=lambda each: each.noise_trace.estimate),
    )


def _scale(found: Sampled) -> float | None:
    return found.gradient_noise_scale.estimate


def _interval(found: Sampled) -> str:
    return interval_only_text("critical_batch_size", found.gradient_noise_scale)


def noise_facts(noise: Noise) -> Iterator[str]:
    """What follows for the batch size in use, a sentence or two each."""
    last = noise.along[-1]
    yield _meaning(noise)
    yield from _growth(noise)
    yield text(
        "It is measured at single moments and is not a critical batch size: only training shows "
        "how much a larger batch saves (batchlab advise)."
    )
    if last.way == "micro-batches":
        yield text(
            "Single examples have no gradient of their own here (batch normalization, or a loss "
            "that couples them). So the noise is that of micro-batches of {n}.",
            n=last.unit_examples,
        )
    lost = next((why for point in noise.along if (why := point.gradient_noise_scale.reason)), None)
    if lost is not None:
        yield text("Where it can't be told, {reason}.", reason=reason_text(lost))
    if noise.stopped is not None:
        yield text("Not measured to the end: {reason}.", reason=reason_text(noise.stopped))


def _meaning(noise: Noise) -> str:
    scale, step, size = noise.gradient_noise_scale, noise.along[-1].step, noise.workload.batch_size
    if scale.estimate is None:
        return text(_UNKNOWN if scale.low is None else _BOUND, step=step, low=scale.low)
    ratio = scale.estimate / size
    message = _NOISY if ratio > _HARDLY_NOISE else _CLEAR
    return text(message, step=step, scale=scale.estimate, size=size, share=ratio / (1 + ratio))


def _growth(noise: Noise) -> Iterator[str]:
    known = [(point.step, point.gradient_noise_scale.estimate) for point in noise.along]
    told = [(step, scale) for step, scale in known if scale is not None]
    if len(told) < 2:
        return
    (first_step, first), (last_step, last) = told[0], told[-1]
    if last >= first:
        change = text("{times:two_digits} times as large", times=last / first)
    else:
        change = text("{times:two_digits} times smaller", times=first / last)
    yield text(
        _GROWTH if last_step == noise.along[-1].step else _GROWTH_BEFORE,
        first=first,
        first_step=first_step,
        last=last,
        last_step=last_step,
        change=change,
    )
