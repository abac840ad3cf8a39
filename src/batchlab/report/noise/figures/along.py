"""Figure (a): the noise scale along a training, beside the batch size in use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.measure.noise import Noise
from batchlab.report.noise_text import noise_table
from batchlab.report.parts.charts.axes import ratio_y, steps_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, estimate_row, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.palette import looks
from batchlab.report.text import label_text, quantity_text
from batchlab.words.catalogue import text


def along_figure(noise: Noise, *, key: str) -> Figure:
    """The noise scale at each point of the training that tells one."""
    rows = tuple(_rows(noise))
    known = [row for row in rows if row["kind"] != "level"]
    return Figure(
        key=key,
        title=text("The noise scale along a training"),
        notes=tuple(_notes(noise)),
        absent=None if known else text("It could not be told at any point of the training."),
        panels=(_panel(noise, rows),) if known else (),
        data="along",
        rows=rows,
        table=noise_table(noise),
    )


def _panel(noise: Noise, rows: tuple[Row, ...]) -> Panel:
    return Panel(
        key="along",
        title=label_text("noise_scale"),
        alternative=text(
            "Chart of {what} against {axis}: {values}. A dashed line marks the batch size in use, "
            "{size}.",
            what=label_text("noise_scale"),
            axis=label_text("step"),
            values="; ".join(
                text(
                    "{value} at step {step}",
                    value=quantity_text("noise_scale", row["mean"]),
                    step=row["step"],
                )
                for row in rows
                if row["kind"] == "point"
            ),
            size=noise.batch_size,
        ),
        plot=partial(
            chart,
            "along",
            where=in_panel("along"),
            x=partial(steps_x, max(point.step for point in noise.points)),
            y=partial(ratio_y, "noise_scale", rows_domain(rows)),
            name="noise_scale",
            kinds=frozenset({"level", "line", "point", "bound"}),
            looks=looks([noise.batch_size], n_train=noise.n_train),
        ),
    )


def _rows(noise: Noise) -> Iterator[Row]:
    base: Row = {
        "panel": "along",
        "batch": looks([noise.batch_size], n_train=noise.n_train)[0].label,
    }
    for point in noise.points:
        at, scale = base | {"step": point.step}, point.gradient_noise_scale
        if scale.estimate is not None:
            yield at | {"kind": "point", **estimate_row(scale)}
            yield at | {"kind": "line", "mean": rounded(scale.estimate)}
        elif scale.low is not None:
            yield at | {"kind": "bound", "mean": rounded(scale.low)}
    yield base | {
        "kind": "level",
        "mean": noise.batch_size,
        "text": text("batch size in use: {size}", size=noise.batch_size),
    }


def _notes(noise: Noise) -> Iterator[str]:
    yield text(
        "The noise scale is the batch size at which half of a gradient's squared length is noise "
        "(McCandlish et al. 2018, https://arxiv.org/abs/1812.06162). It usually grows while the "
        "loss falls, because the gradient shrinks faster than its noise."
    )
    yield text(
        "Bars are 95 % intervals for the weights of that step. Another seed has other weights."
    )
    if any(point.gradient_noise_scale.estimate is None for point in noise.points):
        yield text("An arrow: only a lower bound is known.")


ROWS = (FigureRow(key="a", name="along", build=partial(along_figure, key="a")),)
