"""Figure (f): the validation metric along the training time of the configurations compared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from batchlab.advice.advice import Advice, Configuration
from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.report.advice_rows import advice_looks, kinds_of, label_of
from batchlab.report.advice_words import reference_words
from batchlab.report.parts.charts.axes import time_x, value_y
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Figure, Panel, Row, rounded, rows_domain
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import quantity_text, split_label, with_a_capital
from batchlab.words.catalogue import text

MOST_POINTS = 100  # of a line on the page


def progress_figure(advice: Advice, study: Study, *, key: str) -> Figure:
    """The metric against training time, the recommendation beside the reference."""
    metric = study.workload.metrics[0].name
    own = reference_words(advice)
    rows = tuple(_rows(advice, study, metric))
    curves = [row for row in rows if row["kind"] == "curve"]
    panel = Panel(
        key=f"{key}-progress",
        title=split_label("validation", metric),
        alternative=_words(advice, metric, curves),
        plot=partial(
            chart,
            "progress",
            where=in_panel("progress"),
            x=partial(time_x, "equal_time_s", _times_s(curves)),
            y=partial(value_y, metric, rows_domain(rows)),
            name=metric,
            kinds=kinds_of(rows),
            looks=advice_looks(advice, study),
            series=("recommended", "reference, tuned", "reference"),
        ),
    )
    return Figure(
        key=key,
        title=text(
            "{what} along training time", what=with_a_capital(split_label("validation", metric))
        ),
        notes=(
            text(
                "One line a run. Solid: the recommendation. Dashed: {batch_size} at its tuned "
                "rate. Dotted: {configuration}.",
                batch_size=own.batch_size,
                configuration=own.configuration,
            ),
            text(
                "Time is steps × the time of one step measured alone. The clock of runs that "
                "shared the machine would be longer."
            ),
        ),
        absent=None if curves else text("There are no runs to draw."),
        panels=(panel,) if curves else (),
        data="progress",
        rows=rows,
        table=_table(advice, curves, metric),
    )


def _times_s(curves: list[Row]) -> tuple[float, float]:
    times = [float(row["equal_time_s"] or 0.0) for row in curves]
    return min(times, default=1.0), max(times, default=1.0)


def _configurations(advice: Advice) -> Iterator[tuple[str, Configuration]]:
    seen: list[tuple[int, float]] = []
    for name, configuration in (
        ("recommended", advice.recommendation),
        ("reference, tuned", advice.reference_tuned),
        ("reference", advice.reference),
    ):
        if configuration is None:
            continue
        if (configuration.batch_size, configuration.learning_rate) not in seen:
            seen.append((configuration.batch_size, configuration.learning_rate))
            yield name, configuration


def _rows(advice: Advice, study: Study, metric: str) -> Iterator[Row]:
    looks = advice_looks(advice, study)
    if advice.target is not None and advice.target.metric == metric:
        level: Row = {"panel": "progress", "kind": "level", "mean": advice.target.value}
        yield {**level, "text": text("target {value:.6g}", value=advice.target.value)}
    for name, configuration in _configurations(advice):
        candidate = advice.candidate(configuration.batch_size)
        step_s = None if candidate is None else candidate.step_s.estimate
        if step_s is None:
            continue
        for record in _records(study, configuration):
            for step, value in _thinned(record, metric):
                yield {
                    "panel": "progress",
                    "kind": "curve",
                    "series": name,
                    "batch": label_of(looks, configuration.batch_size),
                    "run": f"{name}-{record.trial.seed}",
                    "seed": record.trial.seed,
                    "equal_time_s": rounded(step * step_s),
                    "mean": rounded(value),
                }


def _records(study: Study, configuration: Configuration) -> list[TrialRecord]:
    """Its runs; where some had fresh seeds for the verification, the last of them."""
    found = [
        record
        for record in study.records
        if record.trial.batch_size == configuration.batch_size
        and record.trial.learning_rate == configuration.learning_rate
        and record.trial.cool_down == configuration.cool_down
    ]
    return found[-4:]


def _thinned(record: TrialRecord, metric: str) -> list[tuple[int, float]]:
    points = [(e.step, value) for e, value in record.curve("validation", metric) if e.step > 0]
    if len(points) <= MOST_POINTS:
        return points
    last = len(points) - 1
    return [points[round(i * last / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def _ends(advice: Advice, curves: list[Row]) -> Iterator[tuple[Row, str]]:
    """The last point of every line, with the name of its configuration."""
    own = reference_words(advice)
    names = {
        "recommended": text("recommended"),
        "reference, tuned": text("{batch_size}, tuned", batch_size=own.batch_size),
        "reference": own.configuration,
    }
    last: dict[str, Row] = {}
    for row in curves:
        last[str(row["run"])] = row
    for row in last.values():
        yield row, names[str(row["series"])]


def _words(advice: Advice, metric: str, curves: list[Row]) -> str:
    ends = "; ".join(
        text(
            "{name}, batch size {size}: {value} after {time}",
            name=name,
            size=row["batch"],
            value=quantity_text(metric, row["mean"]),
            time=quantity_text("equal_time_s", row["equal_time_s"]),
        )
        for row, name in _ends(advice, curves)
    )
    return text(
        "Line chart of {what} against training time. At the end: {ends}.",
        what=split_label("validation", metric),
        ends=ends,
    )


def _table(advice: Advice, curves: list[Row], metric: str) -> Table:
    rows: list[tuple[Value, ...]] = [
        (name, str(row["batch"]), row["seed"], row["equal_time_s"],
         row["mean"])
        for row, name in _ends(advice, curves)
    ]  # fmt: skip
    return Table(
        caption=text("Where each run ended"),
        columns=(
            Column(key="configuration", quantity="", label=text("configuration")),
            Column(key="batch_size", quantity="batch_size"),
            Column(key="seed", quantity="seed", label=text("seed")),
            Column(key="equal_time_s", quantity="equal_time_s"),
            Column(key=metric, quantity=metric, label=split_label("validation", metric)),
        ),
        rows=tuple(rows),
    )


ROWS = (
    FigureRow(
        key="f",
        name="progress",
        build=lambda advice, study, profile: progress_figure(advice, study, key="f"),
    ),
)
