"""The figures of a sweep: curves along training, gap, cost, learning rates, noise and effects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
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
    LOG_RATIO,
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
from batchlab.report.effects import NOISE_NOTE, PLATEAU_NOTE, UNFINISHED_NOTE, Effect, effects
from batchlab.report.figure import SPLITS, Figure, Panel, Row, interval_row, rounded, size_rows
from batchlab.report.palette import Look
from batchlab.report.table import Column, Table, Value
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
        "curves",
        {"split": split, "metric": metric},
        metric,
        figure_looks(study),
        x=along_axis(view, placed),
        y=value_axis(metric, means or of_metric, log_from=LOG_METRIC),
        bars="range",
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
        places = curves[series[0]] or curves[series[1]]
        for place in thinned(places, MOST_TABLE_PLACES):
            epoch, values = float(f"{place.epoch:.4g}"), (each.get(place.step) for each in known)
            at = cell.batch_size, epoch, place.step, place.equal_time_s
            rows.append((*at, *values, place.spread.n))
    return Table(
        caption=text("Means over the seeds that ended well, by batch size and epoch"),
        columns=(
            *(Column(key=key, quantity=key) for key in ("batch_size", *_VIEWS)),
            *(
                Column(key=f"{split}_{metric}", quantity=metric, label=split_label(split, metric))
                for split, metric in series
            ),
            *(Column(key=row.quantity.name, quantity=row.quantity.name) for row in along),
            Column(key="n", quantity="n", label=text("seeds")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def gap_figure(study: Study) -> Figure:
    """The final train and held-out metric, and the gap between them, by batch size."""
    metric, held_out = study.workload.metrics[0].name, held_out_split(study)
    chosen, looks = chosen_cells(study), figure_looks(study)
    rows = tuple(_gap_rows(study, chosen, held_out, metric)) if held_out else ()
    nothing = text("No trial that ended well knows both its train and its held-out metric.")
    if held_out is None:
        nothing = text("There is neither a test nor a validation set, so there is no gap to show.")
    panels = []
    if held_out and rows:
        panels.append(
            finals_panel("gap", rows, looks, key="d-final", metric=metric, held_out=held_out)
        )
        if any(row["panel"] == "d-gap" for row in rows):  # a script may tell validation alone
            what = text(
                "{train} − {held_out}",
                train=split_label("train", metric),
                held_out=split_label(held_out, metric),
            )
            panels.append(
                size_panel(
                    "gap",
                    rows,
                    looks,
                    key="d-gap",
                    quantity="generalization_gap",
                    title=text("generalization gap: {what}", what=what),
                    what=text("generalization gap, {what},", what=what),
                )
            )
    return Figure(
        key="d",
        name="gap",
        title=text("Generalization gap by batch size"),
        notes=tuple(_gap_notes(study, chosen, held_out)),
        nothing=nothing,
        panels=tuple(panels),
        data="gap",
        rows=rows,
        looks=looks,
        table=_gap_table(chosen, held_out, metric),
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


def _gap_table(chosen: tuple[Cell, ...], held_out: Split | None, metric: str) -> Table:
    rows: list[tuple[Value, ...]] = []
    for cell in chosen:
        gap = None if held_out is None else cell.final_gap(held_out, metric)
        finals = [cell.final(split, metric) for split in SPLITS]
        rows.append(
            (
                cell.batch_size,
                cell.learning_rate,
                len(cell.ended_well),
                *(None if final is None else final.mean for final in finals),
                *((gap.mean, gap.low, gap.high) if gap else (None, None, None)),
            )
        )
    return Table(
        caption=text("Final metrics and gap: means over the seeds that ended well"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key="n", quantity="n", label=text("seeds")),
            *(
                Column(key=f"{s}_{metric}", quantity=metric, label=split_label(s, metric))
                for s in SPLITS
            ),
            Column(key="generalization_gap", quantity="generalization_gap", label=text("gap")),
            Column(key="gap_low", quantity="generalization_gap", label=text("lowest gap")),
            Column(key="gap_high", quantity="generalization_gap", label=text("highest gap")),
        ),
        rows=tuple(rows),
    ).without_empty_columns()


def cost_figure(study: Study) -> Figure:
    """Time per step, throughput and peak memory by batch size."""
    looks, shown = figure_looks(study), _of_batch_sizes()
    rows = tuple(_cost_rows(study))
    panels = tuple(
        size_panel(
            "cost",
            rows,
            looks,
            key=f"e-{measurement.quantity.name}",
            quantity=measurement.quantity.name,
            title=text(measurement.quantity.label),
        )
        for measurement in shown
        if any(row["panel"] == f"e-{measurement.quantity.name}" for row in rows)
    )
    return Figure(
        key="e",
        name="cost",
        title=text("Time per step, throughput and memory by batch size"),
        notes=tuple(note for row in shown for note in row.notes(study)) if rows else (),
        nothing=text("Neither step times nor memory were measured in this study."),
        panels=panels,
        data="cost",
        rows=rows,
        looks=looks,
        table=_cost_table(study),
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


def _cost_table(study: Study) -> Table:
    columns = [Column(key="batch_size", quantity="batch_size")]
    values: list[list[Value]] = [list(study.batch_sizes)]
    for measurement in _of_batch_sizes():
        assert measurement.of_batch_size is not None
        name = measurement.quantity.name
        found = [measurement.of_batch_size(study, b) or (None, ()) for b in study.batch_sizes]
        columns.append(Column(key=name, quantity=name))
        values.append([middle for middle, _ in found])
        for end, of, header in zip(
            ("low", "high"), (min, max), measurement.range_headers or (), strict=False
        ):
            columns.append(Column(key=f"{name}_{end}", quantity=name, label=text(header)))
            values.append([of(taken_from, default=None) for _, taken_from in found])
    columns.append(Column(key="threads", quantity="threads", label=text("threads")))
    timings = [study.timing(batch_size) for batch_size in study.batch_sizes]
    values.append([None if timing is None else timing.threads for timing in timings])
    return Table(
        caption=text("Time per step (median of blocks), throughput and peak memory"),
        columns=tuple(columns),
        rows=tuple(zip(*values, strict=True)),
    ).without_empty_columns()


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
        chart = Plot("rates", {}, metric, looks, x=x, y=y, bars="range")
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
    chosen = chosen_cells(study)
    rows: list[tuple[Value, ...]] = []
    for cell in cells(study):
        final = cell.final(split, metric)
        rows.append(
            (
                cell.batch_size,
                cell.learning_rate,
                *((final.mean, final.low, final.high) if final else (None, None, None)),
                len(cell.ended_well),
                "; ".join(trial_words(record) for record in cell.others),
                text("best") if final and cell in chosen else "",
            )
        )
    label = split_label(split, metric)
    return Table(
        caption=text("Final {what} by batch size and learning rate", what=label),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="learning_rate", quantity="learning_rate"),
            Column(key=f"{split}_{metric}", quantity=metric, label=text("mean {what}", what=label)),
            Column(key="low", quantity=metric, label=text("lowest")),
            Column(key="high", quantity=metric, label=text("highest")),
            Column(key="n", quantity="n", label=text("seeds")),
            Column(key="others", quantity="status", label=text("not averaged")),
            Column(key="chosen", quantity="chosen", label=text("shown above")),
        ),
        rows=tuple(rows),
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
            panels.append(
                size_panel(
                    "noise",
                    own,
                    looks,
                    key=key,
                    quantity=name,
                    title=title,
                    what=label_text(name),
                    log_from=LOG_RATIO,
                )
            )
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
    chart = Plot("noise", {"panel": key}, quantity, looks, x=x, y=y, bars="range")
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
    columns = [
        Column(key="batch_size", quantity="batch_size"),
        Column(key="learning_rate", quantity="learning_rate"),
    ]
    values: list[list[Value]] = [
        [cell.batch_size for cell in chosen],
        [cell.learning_rate for cell in chosen],
    ]
    for measurement in _measured_of_models():
        name = measurement.quantity.name
        taken, title = _BY_SIZE.get(measurement.figure or "", (measured_last, "{what}"))
        is_start = measurement.figure == "at_the_start"
        label = text(title, what=label_text(name)) if is_start else None
        columns.append(Column(key=name, quantity=name, label=label))
        found = [taken(cell, measurement) for cell in chosen]
        values.append([None if s is None else measurement.of_seeds(s.values) for s in found])
    columns.append(Column(key="n", quantity="n", label=text("seeds")))
    values.append([len(cell.ended_well) for cell in chosen])
    return Table(
        caption=text("Measured last, or at the start: means over the seeds that ended well"),
        columns=tuple(columns),
        rows=tuple(zip(*values, strict=True)),
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
    return Figure(
        key="h",
        name="effects",
        title=text("Epochs that are enough, and noise, by batch size"),
        notes=tuple(notes),
        nothing=text("No trial was evaluated often enough to see its plateau or its noise."),
        panels=tuple(panel for panel in panels if panel.key in drawn),
        data="effects",
        rows=rows,
        looks=looks,
        table=_effect_table(found),
    )


def _effect_table(found: Sequence[Effect]) -> Table:
    return Table(
        caption=text("Plateau and noise: means over the seeds that reached their plateau"),
        columns=(
            Column(key="batch_size", quantity="batch_size"),
            Column(key="n", quantity="n", label=text("seeds")),
            Column(key="plateau_epoch", quantity="epoch", label=text("epochs until the plateau")),
            Column(key="n_unfinished", quantity="n", label=text("still improving")),
            Column(key="noise", quantity="metric_noise", label=text("jumps")),
        ),
        rows=tuple(
            (
                effect.batch_size,
                len(effect.records),
                fmean(effect.plateau_epochs) if effect.plateau_epochs else None,
                len(effect.unfinished_epochs),
                fmean(effect.noises) if effect.noises else None,
            )
            for effect in found
        ),
    ).without_empty_columns()
