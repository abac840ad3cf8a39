"""The figures of a sweep: curves along training, gap, cost, learning rates, noise and effects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from batchlab.measure.measurements import measurement_rows, on_request
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.cells import (
    Cell,
    CurvePoint,
    Spread,
    cells,
    chosen_cells,
    deciding_split,
    figure_looks,
    held_out_split,
    lone_curves,
    mean_curve,
    measured_along,
    measured_first,
    measured_in_seeds,
    measured_last,
    rate_notes,
    spread_text,
    thinned,
    trial_words,
)
from batchlab.report.chart import (
    LOG_METRIC,
    Plot,
    View,
    along_axis,
    chart_text,
    rate_axis,
    size_panel,
    value_axis,
)
from batchlab.report.effect_panels import (
    finals_panel,
    jumps_panel,
    jumps_rows,
    plateau_panel,
    plateau_rows,
)
from batchlab.report.effects import NOISE_NOTE, PLATEAU_NOTE, UNFINISHED_NOTE, effects
from batchlab.report.figure import (
    SPLITS,
    Figure,
    Panel,
    Row,
    drawn_panels,
    interval_row,
    rounded,
    size_rows,
    value_of,
)
from batchlab.report.palette import Look
from batchlab.report.table import Column, Table, Value, table_of
from batchlab.report.text import label_text, split_label, term_text
from batchlab.words.catalogue import text

if TYPE_CHECKING:
    import altair as alt

MOST_POINTS = 160  # of a line on the page: more than its pixels can show; the CSV has all
MOST_ROWS = 9_000  # of all lines together: the page stays below 5 MB with any number of them
FEWEST_POINTS = 12
MOST_MARKS = 8  # point shapes on a line: enough to tell lines apart, few enough to see them
MOST_TABLE_PLACES = 50  # a batch size's rows in the table under the curves
MOST_MEASURED = 60  # points of a line of what was measured along training


def sweep_figures(study: Study) -> tuple[Figure, ...]:
    """The figures of a study, in the order of their keys."""
    return (
        *curve_figures(study),
        gap_figure(study),
        cost_figure(study),
        rate_figure(study),
        noise_figure(study),
        effects_figure(study),
    )


# What a view calls its figure: key, name, title, and what is equal in it.
_VIEWS: dict[View, tuple[str, str, str, str]] = {
    "epoch": (
        "a",
        "epochs",
        "Train and held-out metrics by epoch",
        "Equal epochs: every batch size has seen the same number of examples.",
    ),
    "step": (
        "b",
        "steps",
        "Train and held-out metrics by optimizer step",
        "Equal steps: every batch size has made the same number of updates.",
    ),
    "equal_time_s": (
        "c",
        "time",
        "Train and held-out metrics by time",
        "Equal time: steps × the time of a step measured alone on this machine, not the clock of "
        "trials that shared it.",
    ),
}


def curve_figures(study: Study) -> Iterator[Figure]:
    """The metrics of every split along training, at the chosen rate of each batch size."""
    chosen = chosen_cells(study)
    rows = tuple(_curve_rows(study, chosen))
    table = _curve_table(study, chosen)
    for view, (key, name, title, equal) in _VIEWS.items():
        nothing = text("No trial has been evaluated after its first step yet.")
        if rows and view == "equal_time_s":
            nothing = text(
                "No step time was measured alone, so there is no common clock for the batch sizes."
            )
        yield Figure(
            key=key,
            name=name,
            title=text(title),
            notes=(text(equal), *_curve_notes(study, chosen, view)),
            nothing=nothing,
            panels=tuple(_curve_panels(study, chosen, rows, view)),
            data="curves",
            rows=rows,
            looks=figure_looks(study),
            table=table,
        )


def _curve_panels(
    study: Study, chosen: tuple[Cell, ...], rows: tuple[Row, ...], view: View
) -> Iterator[Panel]:
    placed = [row for row in rows if row["step"] and row[view] is not None]
    for number, metric in enumerate(_curve_metrics(study)):
        of_metric = [row for row in placed if row["metric"] == metric]
        for split in SPLITS:
            if any(row["split"] == split for row in of_metric):
                ends = _ends(metric, ((cell, cell.final(split, metric)) for cell in chosen))
                yield Panel(
                    key=f"{_VIEWS[view][0]}-{split}-{number}",
                    title=split_label(split, metric),
                    alternative=chart_text(split_label(split, metric), view, ends),
                    plot=partial(_curve_chart, study, split, metric, view, of_metric, placed),
                )


def _curve_chart(
    study: Study, split: Split, metric: str, view: View, of_metric: list[Row], placed: list[Row]
) -> alt.LayerChart:
    # Of the means where there are any: a diverged trial would flatten the rest.
    means = [row for row in of_metric if row["run"] == "mean"]
    chart = Plot(
        {"split": split, "metric": metric},
        metric,
        figure_looks(study),
        x=along_axis(view, placed),
        y=value_axis(metric, means or of_metric, log_from=LOG_METRIC),
        after_zero=view,
    )
    alone = chart.colored(alone=True).encode(detail="run:N")
    dotted = alone.mark_line(strokeWidth=1, opacity=0.75, clip=True, strokeDash=[1, 3])
    return chart.drawn(chart.means(), [dotted], chart.crosses(alone=True, marked=True))


def _curve_metrics(study: Study) -> list[str]:
    """The metric that counts, and the loss."""
    return list(dict.fromkeys([study.workload.metrics[0].name, "loss"]))


def _curve_rows(study: Study, chosen: tuple[Cell, ...]) -> Iterator[Row]:
    """The points of all lines, thinned so that they fit on a page."""
    lines = list(_lines(study, chosen))
    most = max(FEWEST_POINTS, min(MOST_POINTS, MOST_ROWS // max(1, len(lines))))
    for name, points, n_marks in lines:
        shown = thinned(points, most)
        marked = {point.step for point in thinned(shown[-n_marks:], MOST_MARKS)} if n_marks else {}
        for point in shown:
            yield {**name, **_point_row(point), "marked": point.step in marked}


def _lines(
    study: Study, chosen: tuple[Cell, ...]
) -> Iterator[tuple[Row, tuple[CurvePoint, ...], int]]:
    """Name, points, and how many of the last points may carry a mark, of every line."""
    labels = _labels(study)
    for cell in chosen:
        timing = study.timing(cell.batch_size)
        for split in SPLITS:
            for metric in _curve_metrics(study):
                name: Row = {"batch": labels[cell.batch_size], "split": split, "metric": metric}
                mean = mean_curve(cell, split, metric, timing)
                if mean:
                    yield {**name, "run": "mean"}, mean, len(mean) - 1
                for curve in lone_curves(cell, split, metric, timing):
                    n_marks = 1 if curve.record in cell.others else 0
                    run = trial_words(curve.record)
                    yield {**name, "run": run, "alone": True}, curve.points, n_marks


def _point_row(point: CurvePoint) -> Row:
    time_s, spread = point.equal_time_s, point.spread
    return {
        "epoch": rounded(point.epoch),
        "step": point.step,
        "equal_time_s": None if time_s is None else rounded(time_s),
        **interval_row(spread.mean, spread.low, spread.high, spread.n),
    }


def _labels(study: Study) -> dict[int, str]:
    return {look.batch_size: look.label for look in figure_looks(study)}


def _ends(quantity: str, finals: Iterable[tuple[Cell, Spread | None]]) -> list[str]:
    """Where the line of each batch size ends, in words."""
    return [
        text(
            "batch size {batch_size}: {value}",
            batch_size=cell.batch_size,
            value=spread_text(quantity, final),
        )
        for cell, final in finals
        if final is not None
    ] or [text("No trial has ended well")]


def _curve_notes(study: Study, chosen: tuple[Cell, ...], view: View) -> Iterator[str]:
    workload = study.workload
    yield from rate_notes(study, chosen)
    seeds = {len(cell.ended_well) for cell in chosen} - {0}
    if seeds and max(seeds) > 1:
        yield text(
            "Lines are means over the seeds; bands reach from the lowest to the highest seed."
        )
    elif seeds:
        yield text("One seed only: there is no band, and the spread between seeds is not known.")
    if not workload.has_validation:
        yield text("There is no validation set: learning rates are compared on train data.")
    metric = workload.metrics[0].name
    if workload.n_test == 0 and any(cell.final("train", metric) for cell in chosen):
        yield text(
            "There is no test set: the gap is taken to the validation set where there is one."
        )
    if 0 < workload.n_train_evaluated < workload.n_train:
        yield text(
            "The train metric is taken over a fixed {n} of the {n_train} training examples.",
            n=workload.n_train_evaluated,
            n_train=workload.n_train,
        )
    if any(cell.others for cell in chosen):
        yield text(
            "Dotted thin lines that end in × are single trials that ended badly or have not "
            "ended; they are in no mean and may leave the frame."
        )
    records = [record for cell in chosen for record in cell.records]
    if any(record.evaluations and record.evaluations[0].step == 0 for record in records):
        yield text("The untrained model (step 0) is in the data but not drawn.")
    untimed = [str(c.batch_size) for c in chosen if study.timing(c.batch_size) is None]
    if view == "equal_time_s" and untimed and len(untimed) < len(chosen):
        yield text(
            "Without a step time measured alone, not drawn: {sizes}.", sizes=", ".join(untimed)
        )


def _curve_table(study: Study, chosen: tuple[Cell, ...]) -> Table:
    series = [(split, metric) for metric in _curve_metrics(study) for split in SPLITS]
    along = _measured_of_models()
    rows: list[tuple[Value, ...]] = []
    for cell in chosen:
        timing = study.timing(cell.batch_size)
        curves = {key: mean_curve(cell, *key, timing) for key in series}
        known = [
            *({point.step: point.spread.mean for point in curves[key]} for key in series),
            *(measured_along(cell, measurement) for measurement in along),
        ]
        # Where train data were scored all splits were: these are the epoch ends.
        for place in thinned(curves[series[0]] or curves[series[1]], MOST_TABLE_PLACES):
            epoch, values = float(f"{place.epoch:.4g}"), (each.get(place.step) for each in known)
            at = cell.batch_size, epoch, place.step, place.equal_time_s
            rows.append((*at, *values, place.spread.n))
    return Table(
        caption=text("Means over the seeds that ended well, by batch size and epoch"),
        columns=(
            *map(Column, ("batch_size", *_VIEWS)),
            *(Column(f"{s}_{metric}", metric, split_label(s, metric)) for s, metric in series),
            *(Column(row.quantity.name) for row in along),
            Column("n", label=text("seeds")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def gap_figure(study: Study) -> Figure:
    """The final train and held-out metric, and the gap between them, by batch size."""
    metric, held_out = study.workload.metrics[0].name, held_out_split(study)
    chosen, looks = chosen_cells(study), figure_looks(study)
    rows: tuple[Row, ...] = ()
    panels = []
    nothing = text("There is neither a test nor a validation set, so there is no gap to show.")
    if held_out is not None:
        rows = tuple(_gap_rows(study, chosen, held_out, metric))
        nothing = text("No trial that ended well knows both its train and its held-out metric.")
        what = text(
            "{train} − {held_out}",
            train=split_label("train", metric),
            held_out=split_label(held_out, metric),
        )
        panels = [
            finals_panel(rows, looks, "d-final", metric, held_out),
            size_panel(
                rows,
                looks,
                "d-gap",
                "generalization_gap",
                text("generalization gap: {what}", what=what),
                what=text("generalization gap, {what},", what=what),
                log_from=LOG_METRIC,
            ),
        ]

    def column(key: str, label: str, *of: str) -> Column:
        quantity = metric if of[0] == "d-final" else "generalization_gap"
        return Column(key, quantity, label, of=value_of(rows, *of))

    finals = [
        column(f"{split}_{metric}", split_label(split, metric), "d-final", "mean", split)
        for split in ("train", held_out)
        if split is not None
    ]
    return Figure(
        key="d",
        name="gap",
        title=text("Generalization gap by batch size"),
        notes=tuple(_gap_notes(study, chosen, held_out)),
        nothing=nothing,
        # A script may tell its validation metric alone.
        panels=drawn_panels(panels, rows),
        data="gap",
        rows=rows,
        looks=looks,
        table=table_of(
            text("Final metrics and gap: means over the seeds that ended well"),
            [cell.batch_size for cell in chosen],
            Column("batch_size", of=int),
            *finals,
            column("generalization_gap", text("gap"), "d-gap", "mean", "gap"),
            column("gap_low", text("lowest gap"), "d-gap", "low", "gap"),
            column("gap_high", text("highest gap"), "d-gap", "high", "gap"),
            Column("n", label=text("seeds"), of=value_of(rows, "d-gap", "n", "gap")),
        ).without_empty_columns(),
    )


def _gap_rows(
    study: Study, chosen: tuple[Cell, ...], held_out: Split, metric: str
) -> Iterator[Row]:
    labels = _labels(study)
    for cell in chosen:
        for panel, series, spread in (
            ("d-final", "train", cell.final("train", metric)),
            ("d-final", held_out, cell.final(held_out, metric)),
            ("d-gap", "gap", cell.final_gap(held_out, metric)),
        ):
            if spread is not None:
                named: Row = {"panel": panel, "series": series, "batch": labels[cell.batch_size]}
                yield from size_rows(named, cell.batch_size, spread.mean, spread.values)
    if any(cell.final_gap(held_out, metric) for cell in chosen):
        yield {"panel": "d-gap", "kind": "level", "mean": 0.0, "text": ""}


def _gap_notes(study: Study, chosen: tuple[Cell, ...], held_out: Split | None) -> Iterator[str]:
    if held_out == "validation":
        yield text("There is no test set: the gap is train − validation metric.")
    if study.workload.metrics[0].better == "lower":
        yield text(
            "{metric} is better when lower, so a gap below 0 means that the model does better on "
            "train data.",
            metric=label_text(study.workload.metrics[0].name),
        )
    if len({cell.batch_size for cell in chosen}) == 1:
        yield text("One batch size only: there is nothing to compare it with.")
    if max((len(cell.ended_well) for cell in chosen), default=0) > 1:
        yield text("Large marks are means, small circles single seeds, bars their range.")
    else:
        yield text("One seed only: the spread between seeds is not known.")
    yield from rate_notes(study, chosen)


def cost_figure(study: Study) -> Figure:
    """Time per step, throughput and peak memory by batch size."""
    looks, shown = figure_looks(study), _of_batch_sizes()
    rows = tuple(_cost_rows(study))
    panels, columns = [], []
    for measurement in shown:
        name = measurement.quantity.name
        key, title = f"e-{name}", text(measurement.quantity.label)
        panels.append(size_panel(rows, looks, key, name, title))
        columns.append(Column(name, of=value_of(rows, key)))
        for end, header in zip(("low", "high"), measurement.range_headers or (), strict=False):
            columns.append(Column(f"{name}_{end}", name, text(header), of=value_of(rows, key, end)))
    threads = {timing.batch_size: timing.threads for timing in study.timings}
    return Figure(
        key="e",
        name="cost",
        title=text("Time per step, throughput and memory by batch size"),
        notes=tuple(note for row in shown for note in row.notes(study)) if rows else (),
        nothing=text("Neither step times nor memory were measured in this study."),
        panels=drawn_panels(panels, rows),
        data="cost",
        rows=rows,
        looks=looks,
        table=table_of(
            text("Time per step (median of blocks), throughput and peak memory"),
            study.batch_sizes,
            Column("batch_size", of=int),
            *columns,
            Column("threads", label=text("threads"), of=threads.get),
        ).without_empty_columns(),
    )


def _of_batch_sizes() -> list[Measurement]:
    """The measurements that say that the figure of the cost shows them."""
    return [row for row in measurement_rows().values() if row.figure == "cost"]


def _cost_rows(study: Study) -> Iterator[Row]:
    for look in figure_looks(study):
        for measurement in _of_batch_sizes():
            assert measurement.of_batch_size is not None
            found = measurement.of_batch_size(study, look.batch_size)
            if found is not None:
                named: Row = {"panel": f"e-{measurement.quantity.name}", "batch": look.label}
                yield from size_rows(named, look.batch_size, *found)


def rate_figure(study: Study) -> Figure:
    """The final metric against the learning rate, for every batch size."""
    metric, split = study.workload.metrics[0].name, deciding_split(study)
    what, looks = split_label(split, metric), figure_looks(study)
    rows = tuple(_rate_rows(study, split, metric))
    means = [row for row in rows if row["run"] == "mean"]
    rates = {record.trial.learning_rate for record in study.records}
    nothing = text("No trial at any learning rate ended well.")
    if not rates:
        nothing = text("No trials have been run.")
    elif len(rates) == 1:
        nothing = text(
            "One learning rate was run, so nothing can be said about others; add some with "
            "--learning-rates."
        )

    def plot() -> alt.LayerChart:
        x, y = rate_axis(rates), value_axis(metric, means, log_from=LOG_METRIC)
        chart = Plot({}, metric, looks, x=x, y=y)
        return chart.drawn(chart.means(), chart.rings(chosen=True), at_the_edge=chart.lost("foot"))

    best = [
        text(
            "batch size {batch_size}: best at {rate:learning_rate} with {value}",
            batch_size=cell.batch_size,
            rate=cell.learning_rate,
            value=spread_text(metric, final),
        )
        for cell in chosen_cells(study)
        if (final := cell.final(split, metric))
    ]
    title = text("final {what}", what=what)
    panel = Panel(
        key="f-rates",
        title=title,
        alternative=chart_text(title, "learning_rate", best),
        plot=plot,
    )
    return Figure(
        key="f",
        name="learning-rates",
        title=text("Metric against learning rate"),
        notes=(
            text(
                "A ring marks the rate whose curves are shown above: the best on {split} data.",
                split=term_text(split),
            ),
            text("A × on the axis is a trial that ended badly or has not ended at that rate."),
        ),
        nothing=nothing,
        panels=(panel,) if means and len(rates) > 1 else (),
        data="rates",
        rows=rows,
        looks=looks,
        table=rate_table(study),
    )


def _rate_rows(study: Study, split: Split, metric: str) -> Iterator[Row]:
    labels, chosen = _labels(study), chosen_cells(study)
    n_crosses: dict[float, int] = {}
    for cell in cells(study):
        base: Row = {
            "batch": labels[cell.batch_size],
            "batch_size": cell.batch_size,
            "learning_rate": cell.learning_rate,
        }
        final = cell.final(split, metric)
        if final is not None:
            drawn: Row = {"run": "mean", "chosen": cell in chosen, "marked": True}
            yield {**base, **drawn, **interval_row(final.mean, final.low, final.high, final.n)}
        for record in cell.others:
            place = n_crosses.get(cell.learning_rate, 0)
            n_crosses[cell.learning_rate] = place + 1
            yield {**base, "run": trial_words(record), "kind": "lost", "place": place}


def rate_table(study: Study) -> Table:
    """The final deciding metric of every cell, and the trials that are in no mean."""
    metric, split = study.workload.metrics[0].name, deciding_split(study)
    label, chosen = split_label(split, metric), chosen_cells(study)

    def final(key: str, label: str, of: Callable[[Spread], Value]) -> Column:
        def value(cell: Cell) -> Value:
            found = cell.final(split, metric)
            return None if found is None else of(found)

        return Column(key, metric, label, of=value)

    def others(cell: Cell) -> str:
        return "; ".join(trial_words(record) for record in cell.others)

    def is_chosen(cell: Cell) -> str:
        return text("best") if cell in chosen and cell.final(split, metric) else ""

    return table_of(
        text("Final {what} by batch size and learning rate", what=label),
        cells(study),
        Column("batch_size"),
        Column("learning_rate"),
        final(f"{split}_{metric}", text("mean {what}", what=label), lambda final: final.mean),
        final("low", text("lowest"), lambda final: final.low),
        final("high", text("highest"), lambda final: final.high),
        Column("n", label=text("seeds"), of=lambda cell: len(cell.ended_well)),
        Column("others", "status", text("not averaged"), of=others),
        Column("chosen", label=text("shown above"), of=is_chosen),
    ).without_empty_columns()


# What is shown by batch size, which of a trial's values, and how a panel is called.
_BY_SIZE = {
    "at_the_start": (measured_first, "{what}, at the start"),
    "at_the_end": (measured_last, "{what}, at the end"),
}


def noise_figure(study: Study) -> Figure:
    """What was measured of the models at their steps, along training and at its end."""
    chosen, looks = chosen_cells(study), figure_looks(study)
    rows: list[Row] = []
    panels, shown = [], []
    for measurement in _measured_of_models():
        key, name = f"g-{measurement.quantity.name}", measurement.quantity.name
        by_size = measurement.figure in _BY_SIZE
        own = list((_measured_by_size if by_size else _measured_rows)(study, chosen, measurement))
        if not own:
            continue
        rows += own
        shown.append(measurement)
        if by_size:
            title = text(_BY_SIZE[measurement.figure or ""][1], what=label_text(name))
            panels.append(size_panel(own, looks, key, name, title, what=label_text(name)))
        else:
            ends = _ends(name, ((cell, measured_last(cell, measurement)) for cell in chosen))
            panels.append(
                Panel(
                    key=key,
                    title=label_text(name),
                    alternative=chart_text(label_text(name), "step", ends),
                    plot=partial(_measured_chart, key, name, own, looks),
                )
            )
    return Figure(
        key="g",
        name="noise",
        title=text("What the noise does"),
        notes=tuple(_noise_notes(study, chosen, shown)),
        nothing=text("No model was measured on its way."),
        panels=tuple(panels),
        data="noise",
        rows=tuple(rows),
        looks=looks,
        table=_noise_table(chosen),
    )


def _measured_chart(
    key: str, quantity: str, rows: list[Row], looks: Sequence[Look]
) -> alt.LayerChart:
    x, y = along_axis("step", rows), value_axis(quantity, rows)
    chart = Plot({"panel": key}, quantity, looks, x=x, y=y)
    return chart.drawn(chart.means())


def _measured_of_models() -> list[Measurement]:
    """The measurements of a model at a step, those that were asked for first."""
    rows = [row for row in measurement_rows().values() if row.of_batch_size is None and row.figure]
    return sorted(rows, key=lambda row: (not row.on_request, row.figure != "along_training"))


def _measured_rows(
    study: Study, chosen: tuple[Cell, ...], measurement: Measurement
) -> Iterator[Row]:
    """Along training; a logarithmic axis has no place for the initial weights."""
    labels = _labels(study)
    for cell in chosen:
        taken = tuple(point for point in measured_in_seeds(cell, measurement) if point.step > 0)
        shown = thinned(taken, MOST_MEASURED)
        marked = {point.step for point in thinned(shown, MOST_MARKS)}
        for point in shown:
            row = _point_row(point)
            del row["equal_time_s"]
            name: Row = {"panel": f"g-{measurement.quantity.name}", "run": "mean"}
            name["batch"] = labels[cell.batch_size]
            yield {**name, **row, "marked": point.step in marked}


def _measured_by_size(
    study: Study, chosen: tuple[Cell, ...], measurement: Measurement
) -> Iterator[Row]:
    """By batch size, with the dashed line of theory through it."""
    labels, panel = _labels(study), f"g-{measurement.quantity.name}"
    taken, _ = _BY_SIZE[measurement.figure or ""]
    values = {}
    for cell in chosen:
        seen = taken(cell, measurement)
        if seen is None:
            continue
        middle = values[cell.batch_size] = measurement.of_seeds(seen.values)
        if middle != 0:  # which has no place there
            named: Row = {"panel": panel, "batch": labels[cell.batch_size]}
            yield from size_rows(named, cell.batch_size, middle, seen.values)
    if measurement.expected is not None:
        for size, value in sorted(measurement.expected(values, study).items()):
            row: Row = {"panel": panel, "kind": "rule", "series": "expected", "batch_size": size}
            yield {**row, "mean": rounded(value)}


def _noise_notes(
    study: Study, chosen: tuple[Cell, ...], shown: Sequence[Measurement]
) -> Iterator[str]:
    drawn = replace(study, records=tuple(record for cell in chosen for record in cell.records))
    yield from (note for row in shown for note in row.notes(drawn))
    missing = [name for name in on_request() if name not in {row.quantity.name for row in shown}]
    if missing:
        yield text(
            "Not measured here: {missing}. {command} measures them at the start and where an epoch "
            "ends.",
            missing=", ".join(map(label_text, missing)),
            command=" ".join(["batchlab sweep", *(f"--measure {name}" for name in missing)]),
        )
    if max((len(cell.ended_well) for cell in chosen), default=0) > 1:
        yield text(
            "Lines and large marks are means over the seeds, bands and bars reach from the lowest "
            "to the highest, small circles are single seeds."
        )
    elif shown:
        yield text("One seed only: the spread between seeds is not known.")
    yield from rate_notes(study, chosen)


def _noise_table(chosen: tuple[Cell, ...]) -> Table:
    def column(measurement: Measurement) -> Column:
        name = measurement.quantity.name
        taken, title = _BY_SIZE.get(measurement.figure or "", (measured_last, "{what}"))
        is_start = measurement.figure == "at_the_start"

        def value(cell: Cell) -> Value:
            found = taken(cell, measurement)
            return None if found is None else measurement.of_seeds(found.values)

        label = text(title, what=label_text(name)) if is_start else None
        return Column(name, label=label, of=value)

    return table_of(
        text("Measured last, or at the start: means over the seeds that ended well"),
        chosen,
        Column("batch_size"),
        Column("learning_rate"),
        *map(column, _measured_of_models()),
        Column("n", label=text("seeds"), of=lambda cell: len(cell.ended_well)),
    ).without_empty_columns()


def effects_figure(study: Study) -> Figure:
    """The epochs to the plateau and the noise of the metric, by batch size."""
    found, looks = effects(study), figure_looks(study)
    labels = _labels(study)
    rows = tuple(
        row
        for effect in found
        for of in (plateau_rows, jumps_rows)
        for row in of(effect, labels[effect.batch_size])
    )
    drawn = {row["panel"] for row in rows}
    notes = []
    if "h-epochs" in drawn:
        notes.append(text(PLATEAU_NOTE))
    if any(row["kind"] == "bound" for row in rows):
        notes.append(text(UNFINISHED_NOTE))
    if "h-noise" in drawn:
        notes.append(text(NOISE_NOTE))
    panels = (plateau_panel(rows, looks), jumps_panel(study, rows, looks))
    n_seeds = {effect.batch_size: len(effect.records) for effect in found}
    n_unfinished = {effect.batch_size: len(effect.unfinished_epochs) for effect in found}
    return Figure(
        key="h",
        name="effects",
        title=text("Epochs that are enough, and noise, by batch size"),
        notes=tuple(notes),
        nothing=text("No trial was evaluated often enough to see its plateau or its noise."),
        panels=drawn_panels(panels, rows),
        data="effects",
        rows=rows,
        looks=looks,
        table=table_of(
            text("Plateau and noise: means over the seeds that reached their plateau"),
            [effect.batch_size for effect in found],
            Column("batch_size", of=int),
            Column("n", label=text("seeds"), of=n_seeds.get),
            Column("plateau_epoch", "epoch", panels[0].title, of=value_of(rows, "h-epochs")),
            Column("n_unfinished", "n", text("still improving"), of=n_unfinished.get),
            Column("noise", "metric_noise", text("jumps"), of=value_of(rows, "h-noise")),
        ).without_empty_columns(),
    )
