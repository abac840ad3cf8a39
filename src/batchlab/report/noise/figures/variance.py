"""Figure (b): the variance of a batch's gradient by batch size, beside the gradient itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.measure.noise import Noise
from batchlab.report.parts.charts.axes import ratio_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.palette import looks
from batchlab.report.table import Column, Table
from batchlab.report.text import label_text
from batchlab.words.catalogue import text


def variance_figure(noise: Noise, *, key: str) -> Figure:
    """What tr Sigma at the last point makes of each batch size."""
    rows = tuple(_rows(noise))
    sizes = [int(row["batch_size"] or 0) for row in rows if row["kind"] in ("line", "place")]
    return Figure(
        key=key,
        title=text("Twice the batch, half the noise"),
        notes=tuple(_notes(noise)) if rows else (),
        absent=None if rows else text("The noise of one example is not known."),
        panels=(_panel(noise, rows, sizes),) if rows else (),
        data="variance",
        rows=rows,
        table=Table(
            caption=text("The variance of the gradient by batch size"),
            columns=(
                Column(key="batch_size", quantity="batch_size"),
                Column(key="gradient_variance", quantity="gradient_variance"),
            ),
            rows=tuple((row["batch_size"], row["mean"]) for row in rows if row["kind"] == "line"),
        ),
    )


def _panel(noise: Noise, rows: tuple[Row, ...], sizes: list[int]) -> Panel:
    drawn = looks([noise.batch_size], n_train=noise.n_train)
    return Panel(
        key="variance",
        title=text(
            "variance of the gradient of a batch, at step {step}", step=noise.points[-1].step
        ),
        alternative=text(
            "Chart of {what} against {axis}: a line that falls by half with every doubling, faster "
            "towards the whole training set. Beside it the squared length of the gradient itself.",
            what=label_text("gradient_variance"),
            axis=label_text("batch_size"),
        ),
        plot=partial(
            chart,
            "variance",
            where=in_panel("variance"),
            x=partial(batch_size_x, looks(sizes, n_train=noise.n_train)),
            y=partial(ratio_y, "gradient_variance", rows_domain(rows)),
            name="gradient_variance",
            kinds=frozenset({"level", "line", "place"}),
            looks=drawn,
        ),
    )


def _rows(noise: Noise) -> Iterator[Row]:
    found = noise.points[-1].found
    trace, n_train = found.trace.estimate, noise.n_train
    if trace is None or trace <= 0 or n_train < 4:
        return
    label = looks([noise.batch_size], n_train=n_train)[0].label
    base: Row = {"panel": "variance", "batch": label}
    for power in range((n_train // 2).bit_length()):
        size = 2**power
        left = (n_train - size) / (n_train - 1)
        yield base | {"kind": "line", "batch_size": size, "mean": rounded(trace / size * left)}
    if found.scale.estimate is not None and found.grad_sq.estimate is not None:
        words = text("squared length of the gradient itself")
        yield base | {"kind": "level", "mean": rounded(found.grad_sq.estimate), "text": words}
    is_left = noise.batch_size**2 < n_train
    yield base | {
        "kind": "place",
        "batch_size": noise.batch_size,
        "text": text("in use: {size}", size=noise.batch_size),
        "side": "left" if is_left else "right",
    }


def _notes(noise: Noise) -> Iterator[str]:
    yield text(
        "How far the gradient of a batch lies from that of the whole training set (mean squared "
        "distance). It is the noise of one example over the batch size. A batch that is a large "
        "part of the training set has less, and all of it has none (sampling without replacement)."
    )
    yield text(
        "Above the dashed line, a batch's gradient is more noise than gradient. The lines cross "
        "near the noise scale, or before it where that is a large part of the training set."
    )


ROWS = (FigureRow(key="b", name="variance", build=partial(variance_figure, key="b")),)
