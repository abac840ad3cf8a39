"""Figure (c): what a step of each batch size costs on the machine, in time and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from batchlab.advice.advice import Advice, Laws
from batchlab.records.study import Study
from batchlab.report.advice_rows import advice_looks, drawn_looks, kinds_of, label_of
from batchlab.report.parts.charts.axes import ratio_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, estimate_row, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.profile import step_time_text
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import estimate_text, label_text, quantity_text
from batchlab.words.catalogue import text

if TYPE_CHECKING:
    from batchlab.measure.profile import Profile

PANELS = ("step_s", "peak_bytes")


def machine_figure(advice: Advice, study: Study, profile: Profile | None, *, key: str) -> Figure:
    """Time per step and peak memory by batch size, with the limit that the profile was given."""
    memory_limit_bytes = None if profile is None else profile.memory_limit_bytes
    rows = tuple(_rows(advice, study, memory_limit_bytes))
    all_looks = advice_looks(advice, study)
    panels = tuple(
        Panel(
            key=f"{key}-{name}",
            title=label_text(name),
            alternative=_words(name, rows),
            plot=partial(
                chart,
                "machine",
                where=in_panel(name),
                x=partial(batch_size_x, looks := drawn_looks(all_looks, own)),
                y=partial(ratio_y, name, rows_domain(own)),
                name=name,
                kinds=kinds_of(own),
                looks=looks,
            ),
        )
        for name in PANELS
        if (own := [row for row in rows if row["panel"] == name])
    )
    return Figure(
        key=key,
        title=text("Time per step and memory by batch size"),
        notes=tuple(_notes(advice, profile)),
        absent=None if rows else text("No batch size ran, so neither time nor memory is known."),
        panels=panels,
        data="machine",
        rows=rows,
        table=_table(advice),
    )


def _rows(advice: Advice, study: Study, memory_limit_bytes: int | None) -> Iterator[Row]:
    looks = advice_looks(advice, study)
    laws = advice.laws
    curve = () if laws is None else laws.step_curve
    for batch_size, step_s in curve:
        law: Row = {"batch_size": batch_size, **estimate_row(step_s)}
        yield {"panel": "step_s", "kind": "band", "series": "law", **law}
    if laws is not None:
        yield from _knee_rows(laws, [size for size, _ in curve])
    for candidate in advice.candidates:
        if candidate.step_s.estimate is None and candidate.peak_bytes is None:
            continue
        base: Row = {
            "batch_size": candidate.batch_size,
            "batch": label_of(looks, candidate.batch_size),
        }
        if candidate.step_s.estimate is not None:
            row: Row = {**base, "panel": "step_s", **estimate_row(candidate.step_s)}
            if not curve:
                yield {**row, "kind": "band", "series": "measured"}
            yield {**row, "kind": "point"}
        if candidate.peak_bytes is not None:
            peak = candidate.peak_bytes
            yield {
                **base,
                "panel": "peak_bytes",
                "kind": "point",
                "mean": peak,
                "low": peak,
                "high": peak,
                "n": 1,
            }
    if not any(candidate.peak_bytes is not None for candidate in advice.candidates):
        return
    if memory_limit_bytes is not None:
        yield {
            "panel": "peak_bytes",
            "kind": "level",
            "mean": memory_limit_bytes,
            "text": text("limit {limit}", limit=quantity_text("peak_bytes", memory_limit_bytes)),
        }
    if laws is None:
        return
    fixed, slope = laws.fixed_bytes.estimate, laws.bytes_per_example.estimate
    if fixed is not None and slope is not None:
        for look in looks:
            on_law = fixed + slope * look.batch_size
            if on_law > 0:
                row = {"batch_size": look.batch_size, "mean": rounded(on_law)}
                yield {"panel": "peak_bytes", "kind": "rule", "series": "law", **row}


def _knee_rows(laws: Laws, sizes: list[int]) -> Iterator[Row]:
    """The knee of the step time, where it lies within the axis."""
    knee = laws.knee_batch_size.estimate
    if knee is None or not sizes or not sizes[0] <= knee <= sizes[-1]:
        return
    yield {
        "panel": "step_s",
        "kind": "place",
        "batch_size": knee,
        "text": text("knee"),
        "side": "left" if knee**2 < sizes[0] * sizes[-1] else "right",
    }


def _words(name: str, rows: tuple[Row, ...]) -> str:
    values = "; ".join(
        f"{row['batch']}: {quantity_text(name, float(row['mean'] or 0.0))}"
        for row in rows
        if row["panel"] == name and row["kind"] == "point"
    )
    return text(
        "Chart of {what} against batch size. {values}.", what=label_text(name), values=values
    )


def _notes(advice: Advice, profile: Profile | None) -> Iterator[str]:
    where = "" if profile is None else text(" on {device}", device=profile.device_name)
    yield text(
        "Each batch size ran alone{where}. Marks are its time per step, bars the 95 % interval. "
        "Both use its own steps and what all batch sizes show together.",
        where=where,
    )
    laws = advice.laws
    if laws is not None and laws.step_curve:
        told = step_time_text(
            overhead_s=laws.step_overhead_s,
            s_per_example=laws.step_s_per_example,
            knee=laws.knee_batch_size,
        )
        yield text("Line and band: the law of the step time, {told}.", told=told)
    if laws is not None and laws.bytes_per_example.estimate is not None:
        fixed = estimate_text("peak_bytes", laws.fixed_bytes)
        slope = estimate_text("peak_bytes", laws.bytes_per_example)
        yield text(
            "Memory is the peak above an idle process. Dashed: the fitted law, {fixed} and "
            "{slope} for each example of the batch.",
            fixed=fixed,
            slope=slope,
        )
    if profile is not None and profile.memory_limit_bytes is not None:
        limit = quantity_text("peak_bytes", profile.memory_limit_bytes)
        yield text("The memory limit that was asked for is {limit}.", limit=limit)
    split = [c for c in advice.candidates if c.micro_batch_size < c.batch_size]
    if split:
        named = ", ".join(
            text("{size} in micro-batches of {micro}", size=c.batch_size, micro=c.micro_batch_size)
            for c in split
        )
        yield text("Measured in micro-batches, so below the law: {sizes}.", sizes=named)


def _table(advice: Advice) -> Table:
    rows: list[tuple[Value, ...]] = []
    for candidate in advice.candidates:
        step = candidate.step_s
        per_s = None if not step.estimate else candidate.batch_size / step.estimate
        rows.append(
            (
                candidate.batch_size,
                candidate.micro_batch_size,
                step.estimate,
                step.low,
                step.high,
                per_s,
                candidate.peak_bytes,
                text("yes") if candidate.fits else text("no"),
            )
        )
    return Table(
        caption=text("Time per step with its 95 % interval, throughput and peak memory"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="micro_batch_size", quantity="batch_size", label=text("micro-batch size")),
            Column(key="step_s", quantity="step_s"),
            Column(key="step_s_low", quantity="step_s", label=text("from")),
            Column(key="step_s_high", quantity="step_s", label=text("to")),
            Column(key="samples_per_s", quantity="samples_per_s"),
            Column(key="peak_bytes", quantity="peak_bytes"),
            Column(key="fits", quantity="", label=text("fits")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


ROWS = (FigureRow(key="c", name="machine", build=partial(machine_figure, key="c")),)
