"""Noise tables: the noise scale by step, and of each parameter at the last one."""

from __future__ import annotations

from batchlab.laws.noise_scale import NoiseScale, noise_scale
from batchlab.measure.noise import Noise
from batchlab.records.noise import NoisePoint
from batchlab.report.parts.estimate_text import interval_only_text
from batchlab.report.parts.table import Column, Table, Value
from batchlab.words.catalogue import text


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
        rows=tuple(_row(noise, point, found) for point, found in noise.along),
    ).without_empty_columns()


def layers_table(noise: Noise) -> Table:
    """One row a trainable parameter, at the last point."""
    last = noise.points[-1]
    found = [(name, noise_scale(sample)) for name, sample in last.layers]
    return Table(
        caption=text("Gradient noise of each parameter at step {step}", step=last.step),
        columns=(
            Column(key="parameter", quantity="parameter", label=text("parameter")),
            *_scale_columns(),
        ),
        rows=tuple(
            (
                name,
                of_layer.scale.estimate,
                _interval(of_layer),
                of_layer.grad_sq.estimate,
                of_layer.trace.estimate,
            )
            for name, of_layer in found
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


def _row(noise: Noise, point: NoisePoint, found: NoiseScale) -> tuple[Value, ...]:
    adam = noise.preconditioned(point)
    return (
        point.step,
        point.samples / noise.n_train,
        found.scale.estimate,
        text("all examples") if noise.is_whole(point) else _interval(found),
        found.grad_sq.estimate,
        found.trace.estimate,
        None if adam is None else adam.estimate,
        point.sample.n_examples,
    )


def _interval(found: NoiseScale) -> str:
    return interval_only_text("critical_batch_size", found.scale)
