"""How noisy a gradient is along a training, as one self-contained page with its two figures."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.measure.noise import Noise
from batchlab.report.figure import (
    Figure,
    Panel,
    Row,
    alone,
    interval_mark,
    mark,
)
from batchlab.report.noise import layers_table, noise_facts, noise_table, noise_title
from batchlab.report.page import download, render_page
from batchlab.report.palette import looks
from batchlab.report.table import Value
from batchlab.report.text import label_text
from batchlab.words.catalogue import text


def noise_figures(noise: Noise) -> tuple[Figure, ...]:
    """The figures of a noise, in their order."""
    return _along(noise), _variance(noise)


def _along(noise: Noise) -> Figure:
    """The noise scale along a training, beside the batch size in use."""
    panel = Panel(
        "along",
        label_text("noise_scale"),
        "noise_scale",
        tuple(_along_rows(noise)),
        axis="step",
    )
    notes = [
        text(
            "The noise scale is the batch size at which half of a gradient's squared length is "
            "noise (McCandlish et al. 2018, https://arxiv.org/abs/1812.06162). It usually grows "
            "while the loss falls, because the gradient shrinks faster than its noise."
        ),
        text(
            "Bars are 95 % intervals for the weights of that step. Another seed has other weights."
        ),
    ]
    if any(point.gradient_noise_scale.estimate is None for point in noise.along):
        notes.append(text("An arrow: only a lower bound is known."))
    return Figure(
        "a",
        "along",
        text("The noise scale along a training"),
        [panel],
        notes=notes,
        nothing=text("It could not be told at any point of the training."),
        table=noise_table(noise),
    )


def _along_rows(noise: Noise) -> Iterator[Row]:
    size = noise.workload.batch_size
    for point in noise.along:
        at: dict[str, Value] = {"batch_size": size, "step": point.step}
        scale = point.gradient_noise_scale
        yield from interval_mark("point", scale, **at)
        if scale.estimate is not None:
            yield mark("line", scale.estimate, **at)
        elif scale.low is not None:
            yield mark("bound", scale.low, **at)
    yield mark("level", size, text=text("batch size in use: {size}", size=size))


def _variance(noise: Noise) -> Figure:
    """What tr Sigma at the last point makes of each batch size, beside the gradient itself."""
    rows = tuple(_variance_rows(noise))
    panel = Panel(
        "variance",
        text("variance of the gradient of a batch, at step {step}", step=noise.along[-1].step),
        "gradient_variance",
        rows,
    )
    return Figure(
        "b",
        "variance",
        text("Twice the batch, half the noise"),
        [panel],
        notes=(
            text(
                "How far the gradient of a batch lies from that of the whole training set (mean "
                "squared distance). It is the noise of one example over the batch size. A batch "
                "that is a large part of the training set has less, and all of it has none "
                "(sampling without replacement)."
            ),
            text(
                "Above the dashed line, a batch's gradient is more noise than gradient. The lines "
                "cross near the noise scale, or before it where that is a large part of the "
                "training set."
            ),
        ),
        nothing=text("The noise of one example is not known."),
    )


def _variance_rows(noise: Noise) -> Iterator[Row]:
    found = noise.along[-1].found
    trace, n_train = found.trace.estimate, noise.workload.n_train
    if trace is None or trace <= 0 or n_train < 4:
        return
    for power in range((n_train // 2).bit_length()):
        size = 2**power
        left = (n_train - size) / (n_train - 1)
        value = alone(trace / size * left)
        yield from interval_mark("band", value, batch_size=size, series="in theory")
    if found.scale.estimate is not None and found.grad_sq.estimate is not None:
        words = text("squared length of the gradient itself")
        yield mark("level", found.grad_sq.estimate, text=words)
    words = text("in use: {size}", size=noise.workload.batch_size)
    yield {"kind": "place", "batch_size": noise.workload.batch_size, "text": words}


def noise_page(noise: Noise, *, command: str) -> str:
    """The page as text: what follows for the batch size in use first."""
    layers = layers_table(noise) if noise.along[-1].layers else None
    return render_page(
        "noise.html.j2",
        noise=noise,
        command=command,
        environment=list(noise.environment),
        figures=(figures := noise_figures(noise)),
        looks=looks([noise.workload.batch_size], n_train=noise.workload.n_train),
        title=noise_title(noise),
        facts=list(noise_facts(noise)),
        shown=figures,
        layers=layers,
        downloads=(
            download("batchlab-noise.csv", text("one row a step"), noise_table(noise)),
            *(
                (download("batchlab-layers.csv", text("one row a parameter"), layers),)
                if layers is not None
                else ()
            ),
        ),
    )
