"""How noisy a gradient is along a training: tables, and text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.measure.noise import Noise, NoisePoint, Sampled
from batchlab.records.estimate import Estimate
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import interval_only_text, wrapped_text
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text


def noise_table(noise: Noise) -> Table:
    """One row a point of the training."""
    return Table(
        caption=text("Gradient noise of {workload} by step", workload=noise.workload),
        columns=(
            Column(key="step", quantity="step"),
            Column(key="epoch", quantity="epochs_to_target", label=text("epochs")),
            *_scale_columns(),
            Column(key="preconditioned", quantity="critical_batch_size", label=text("for Adam")),
            Column(key="n_examples", quantity="step", label=text("examples")),
        ),
        rows=tuple(_row(noise, point) for point in noise.points),
    ).without_empty_columns()


def layers_table(noise: Noise) -> Table:
    """One row a trainable parameter, at the last point."""
    last = noise.points[-1]
    return Table(
        caption=text("Gradient noise of each parameter at step {step}", step=last.step),
        columns=(
            Column(key="parameter", quantity="parameter", label=text("parameter")),
            *_scale_columns(),
        ),
        rows=tuple(
            (
                layer.name,
                layer.gradient_noise_scale.estimate,
                _interval(layer),
                layer.gradient_norm_squared.estimate,
                layer.noise_trace.estimate,
            )
            for layer in last.layers
        ),
    )


def _scale_columns() -> tuple[Column, ...]:
    """Of what every row has: the noise scale and what it is the ratio of."""
    return (
        Column(
            key="gradient_noise_scale", quantity="critical_batch_size", label=text("noise scale")
        ),
        Column(key="interval", quantity="interval", label=text("95 %")),
        Column(key="grad_sq", quantity="ratio", label="|G|²"),
        Column(key="trace", quantity="ratio", label="tr Σ"),
    )


def _row(noise: Noise, point: NoisePoint) -> tuple[Value, ...]:
    adam = point.preconditioned
    return (
        point.step,
        point.samples / noise.n_train,
        point.gradient_noise_scale.estimate,
        text("all examples") if point.is_whole else _interval(point),
        point.gradient_norm_squared.estimate,
        point.noise_trace.estimate,
        None if adam is None else adam.estimate,
        point.n_examples,
    )


def _interval(found: Sampled) -> str:
    return interval_only_text("critical_batch_size", found.gradient_noise_scale)


# A batch so many times as large as the noise scale has hardly any noise left: a tenth.
_HARDLY_NOISE = 0.1


def noise_text(noise: Noise) -> str:
    """The noise scale for people: what it means for the batch size in use, then a table.

    Returns:
        Lines as wide as the terminal, else 88, where words can be wrapped, ended by a newline.
    """
    facts = "\n".join(wrapped_text(f"- {fact}") for fact in noise_facts(noise))
    tables = [noise_table(noise), *([layers_table(noise)] if noise.points[-1].layers else [])]
    shown = "\n\n".join(table.to_text() for table in tables)
    return f"{wrapped_text(noise_title(noise))}\n\n{facts}\n\n{shown}\n"


def noise_headline(noise: Noise) -> str:
    """What is read first: the noise scale at the last step."""
    return f"{wrapped_text(next(noise_facts(noise)))}\n"


def noise_title(noise: Noise) -> str:
    """What was measured."""
    return text(
        "Gradient noise of {workload}, trained with batch size {size} at learning rate {rate:rate}",
        workload=noise.workload,
        size=noise.batch_size,
        rate=noise.learning_rate,
    )


def noise_facts(noise: Noise) -> Iterator[str]:
    """What follows for the batch size in use, a sentence or two each."""
    last = noise.points[-1]
    yield _meaning(noise, noise.gradient_noise_scale, last.step)
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
    lost = next((why for point in noise.points if (why := point.gradient_noise_scale.reason)), None)
    if lost is not None:
        yield text("Where it can't be told, {reason}.", reason=reason_text(lost))
    if noise.stopped is not None:
        yield text("Not measured to the end: {reason}.", reason=reason_text(noise.stopped))


def _meaning(noise: Noise, scale: Estimate, step: int) -> str:
    size = noise.batch_size
    if scale.estimate is None and scale.low is None:
        return text("At step {step} the noise scale can't be told.", step=step)
    if scale.estimate is None:
        return text(
            "At step {step} the noise scale is above {low:critical_batch_size} examples.",
            step=step,
            low=scale.low,
        )
    ratio = scale.estimate / size
    message = _NOISY if ratio > _HARDLY_NOISE else _CLEAR
    return text(message, step=step, scale=scale.estimate, size=size, share=ratio / (1 + ratio))


_NOISY = (
    "At step {step} the noise scale is {scale:critical_batch_size} examples. In a batch of "
    "{size}, {share:whole_percent} of the gradient's squared length is noise."
)
_CLEAR = (
    "At step {step} the noise scale is {scale:critical_batch_size} examples. The gradient of a "
    "batch of {size} is nearly that of the whole training set."
)


def _growth(noise: Noise) -> Iterator[str]:
    told = [
        (point.step, point.gradient_noise_scale.estimate)
        for point in noise.points
        if point.gradient_noise_scale.estimate is not None
    ]
    if len(told) < 2:
        return
    (first_step, first), (last_step, last) = told[0], told[-1]
    yield text(
        _GROWTH if last_step == noise.points[-1].step else _GROWTH_BEFORE,
        first=first,
        first_step=first_step,
        last=last,
        last_step=last_step,
        change=text(_LARGER, times=last / first)
        if last >= first
        else text(_SMALLER, times=first / last),
    )


_GROWTH = (
    "It goes from {first:critical_batch_size} at step {first_step} to {last:critical_batch_size} "
    "at step {last_step}: {change}."
)
_GROWTH_BEFORE = (
    "Before that it goes from {first:critical_batch_size} at step {first_step} to "
    "{last:critical_batch_size} at step {last_step}: {change}."
)
_LARGER = "{times:two_digits} times as large"
_SMALLER = "{times:two_digits} times smaller"
