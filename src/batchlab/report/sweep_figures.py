"""The figures of a sweep: finals, effects, curves along training, cost, learning rates, noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from statistics import fmean

from batchlab.measure.measurements import measurement_rows, on_request
from batchlab.records.measurement import Measurement
from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.cells import (
    Cell,
    cell_label,
    cells,
    chosen_cells,
    deciding_split,
    has_plans,
    held_out_split,
    kind_fields,
    kind_word,
    lone_curves,
    mean_curve,
    measured_curve,
    measured_once,
    rate_notes,
    trial_words,
)
from batchlab.report.effects import (
    Effect,
    effect_notes,
    effect_rows,
    effects,
    finals_panel,
    jumps_panel,
    plateau_panel,
)
from batchlab.report.figure import (
    SPLITS,
    Figure,
    Panel,
    Row,
    interval_mark,
    mark,
    panels_table,
    seeds_row,
    size_rows,
    thinned,
)
from batchlab.report.sweep_evidence import Evidence
from batchlab.report.table import Column, Table, Value, table_of
from batchlab.report.text import label_text, split_label
from batchlab.words.catalogue import term_text, text

MOST_POINTS = 160  # of a line on the page: more than its pixels can show; the CSV has all
MOST_ROWS = 9_000  # of all lines together: the page stays below 5 MB with any number of them
FEWEST_POINTS = 12
MOST_MARKS = 8  # point shapes on a line: enough to tell lines apart, few enough to see them
MOST_TABLE_PLACES = 50  # a batch size's rows in the table under the curves
MOST_MEASURED = 60  # points of a line of what was measured along training


def sweep_figures(study: Study) -> tuple[Figure, ...]:
    """Return the figures of a study, in the order of their keys; that of plans is the last."""
    found = effects(study)
    figures = (
        finals_figure(study, found),
        effects_figure(study, found),
        curve_figure(study),
        cost_figure(study),
        rate_figure(study),
        noise_figure(study),
    )
    return (*figures, plans_figure(study)) if has_plans(cells(study)) else figures


# Along what a view of the curves goes, and what is equal in it.
_VIEWS = {
    "epochs": ("epoch", "Equal epochs: every batch size has seen the same number of examples."),
    "steps": ("step", "Equal steps: every batch size has made the same number of updates."),
    "time": (
        "equal_time_s",
        "Equal time: steps × the time of a step measured alone on this machine, not the clock of "
        "trials that shared it.",
    ),
}


def curve_figure(study: Study) -> Figure:
    """The metrics of every split along training, at the chosen rate of each batch size."""
    chosen = chosen_cells(study)
    rows = tuple(_curve_rows(study, chosen))
    panels = [panel for view in _VIEWS for panel in _curve_panels(study, rows, view)]
    drawn = {panel.view for panel in panels}
    notes = [text(equal) for view, (_, equal) in _VIEWS.items() if view in drawn]
    if panels and "time" not in drawn:
        notes.append(
            text(
                "No step time was measured alone, so there is no common clock for the batch sizes."
            )
        )
    return Figure(
        "c",
        "curves",
        text("Train and held-out metrics along training"),
        panels,
        notes=(*notes, *_curve_notes(study, chosen)),
        nothing=text("No trial has been evaluated after its first step yet."),
        rows=rows,
        table=panels_table(
            text("Means over the seeds that ended well, by batch size and epoch"),
            [panel for panel in panels if panel.view == "epochs"],
            MOST_TABLE_PLACES,
        ),
    )


def _curve_panels(study: Study, rows: tuple[Row, ...], view: str) -> Iterator[Panel]:
    along, _ = _VIEWS[view]
    placed = [row for row in rows if row["kind"] != "start" and along in row]
    for number, metric in enumerate(_curve_metrics(study)):
        of_metric = tuple(row for row in placed if row["metric"] == metric)
        for split in SPLITS:
            own = tuple(row for row in of_metric if row["split"] == split)
            if own:
                yield Panel(
                    f"c-{view}-{split}-{number}",
                    split_label(split, metric),
                    metric,
                    own,
                    axis=along,
                    is_metric=True,
                    frame=of_metric,
                    where={"split": split, "metric": metric},
                    view=view,
                )


def _curve_metrics(study: Study) -> list[str]:
    """The metric that counts, and the loss."""
    return list(dict.fromkeys([study.workload.metrics[0].name, "loss"]))


def _curve_rows(study: Study, chosen: tuple[Cell, ...]) -> Iterator[Row]:
    """The points of all lines, thinned so that they fit on a page."""
    lines = list(_lines(study, chosen))
    most = max(FEWEST_POINTS, min(MOST_POINTS, MOST_ROWS // max(1, len(lines))))
    for name, places, n_marks in lines:
        shown = thinned(places, most)
        marked = thinned(shown[-n_marks:], MOST_MARKS) if n_marks else ()
        for place in shown:
            row = {**name, **place, "marked": place in marked}
            yield row if place["step"] else row | {"kind": "start"}


def _lines(study: Study, chosen: tuple[Cell, ...]) -> Iterator[tuple[Row, list[Row], int]]:
    """Name, places, and how many of the last places may carry a mark, of every line."""
    for cell in chosen:
        for split in SPLITS:
            for metric in _curve_metrics(study):
                name: Row = {**kind_fields(study, cell), "split": split, "metric": metric}
                mean = mean_curve(cell, split, metric, study)
                if mean:
                    yield {**name, "kind": "curve", "run": "mean"}, mean, len(mean) - 1
                for record, places in lone_curves(cell, split, metric, study):
                    n_marks = 0 if record.ended_well else 1
                    yield {**name, "kind": "lone", "run": trial_words(record)}, places, n_marks


def _chosen_notes(study: Study, chosen: tuple[Cell, ...]) -> Iterator[str]:
    """What the marks of each batch size stand for."""
    n_seeds = max((len(cell.ended_well) for cell in chosen), default=0)
    if n_seeds > 1:
        yield text(
            "Lines and large marks are means over the seeds, bands and bars reach from the lowest "
            "to the highest, small circles are single seeds."
        )
    elif n_seeds:
        yield text("One seed only: the spread between seeds is not known.")
    yield from rate_notes(study, chosen)


def _curve_notes(study: Study, chosen: tuple[Cell, ...]) -> Iterator[str]:
    workload = study.workload
    yield from _chosen_notes(study, chosen)
    if not workload.has_validation:
        yield text("There is no validation set: learning rates are compared on train data.")
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
    untimed = [
        cell_label(study, cell)
        for cell in chosen
        if study.train_s(cell.records[0].trial, 1) is None
    ]
    if untimed and len(untimed) < len(chosen):
        yield text(
            "Without a step time measured alone, not drawn by time: {sizes}.",
            sizes=", ".join(untimed),
        )


def finals_figure(study: Study, found: Sequence[Effect]) -> Figure:
    """Draw the final train and held-out metric by batch size, or the held-out one by plan."""
    chosen = chosen_cells(study)
    panel, notes = finals_panel(study, found, key="a-final"), _chosen_notes(study, chosen)
    if has_plans(chosen):
        means = text(
            "Large marks are means over the seeds with their 95 % interval, small circles are "
            "single seeds."
        )
        panel, notes = _plan_finals_panel(study), iter([means, *rate_notes(study, chosen)])
    end = text("A final validation metric is the end of a line through a training's last quarter.")
    return Figure(
        "a",
        "finals",
        text("Final metric by {kind}", kind=kind_word(chosen)),
        [panel],
        notes=(*notes, end) if study.workload.has_validation else notes,
        nothing=text("No trial has ended well."),
    )


def _plan_finals_panel(study: Study) -> Panel:
    """A plan has no place on an axis of batch sizes, so each stands under its name."""
    evidence, split = Evidence.of(study), held_out_split(study) or "train"
    rows: list[Row] = []
    measured = evidence.final(split)
    for cell in evidence.cells:
        place: Row = {**kind_fields(study, cell), "configuration": cell_label(study, cell)}
        rows += [place | row for row in interval_mark("point", measured.mean(cell))]
        rows += [place | mark("run", value) for value in measured.values(cell)]
    title = text("final {what}", what=split_label(split, evidence.metric))
    return Panel("a-final", title, evidence.metric, rows, axis="configuration", is_metric=True)


def effects_figure(study: Study, found: Sequence[Effect]) -> Figure:
    """The gap between train and held-out metric, the epochs to the plateau, and the noise."""
    held_out = held_out_split(study)
    panels = [
        *([] if held_out is None else [_gap_panel(study, found, held_out)]),
        plateau_panel(found, key="b-epochs"),
        jumps_panel(study, found, key="b-noise"),
    ]
    nothing = "No trial was evaluated often enough to see its gap, plateau or noise."
    if not any(cell.ended_well for cell in cells(study)):
        nothing = "No trial has ended well."
    elif not found:
        nothing = "These are shown by batch size, and no training of one throughout ended well."
    return Figure(
        "b",
        "effects",
        text("Gap, epochs that are enough, and noise, by batch size"),
        panels,
        notes=(*_gap_notes(study, held_out), *effect_notes(panels)),
        nothing=text(nothing),
    )


def _gap_panel(study: Study, found: Sequence[Effect], held_out: Split) -> Panel:
    metric = study.workload.metrics[0].name
    rows: list[Row] = []
    for effect in found:
        rows += effect_rows(effect, effect.final_gap(held_out, metric))
    what = text(
        "{train} − {held_out}",
        train=split_label("train", metric),
        held_out=split_label(held_out, metric),
    )
    return Panel(
        "b-gap",
        text("generalization gap: {what}", what=what),
        "generalization_gap",
        (*rows, {"kind": "level", "mean": 0.0, "text": ""}),
        is_metric=True,
    )


def _gap_notes(study: Study, held_out: Split | None) -> Iterator[str]:
    if held_out is None:
        yield text("There is neither a test nor a validation set, so there is no gap to show.")
    elif held_out == "validation":
        yield text("There is no test set: the gap is train − validation metric.")
    if held_out is not None and study.workload.metrics[0].better == "lower":
        yield text(
            "{metric} is better when lower, so a gap below 0 means that the model does better on "
            "train data.",
            metric=label_text(study.workload.metrics[0].name),
        )
    if len(study.batch_sizes) == 1:
        yield text("One batch size only: there is nothing to compare it with.")


def cost_figure(study: Study) -> Figure:
    """Time per step, throughput and peak memory by batch size."""
    panels: list[Panel] = []
    notes: list[str] = []
    for measurement in measurement_rows().values():
        if measurement.figure != "cost" or measurement.of_batch_size is None:
            continue
        rows: list[Row] = []
        for size in study.batch_sizes:
            found = measurement.of_batch_size(study, size)
            if found is not None:
                middle, values = found
                rows += size_rows({"batch_size": size}, values, middle)
        name = measurement.quantity.name
        panels.append(Panel(f"d-{name}", text(measurement.quantity.label), name, rows))
        notes += measurement.notes(study)
    return Figure(
        "d",
        "cost",
        text("Time per step, throughput and memory by batch size"),
        panels,
        notes=notes,
        nothing=text("Neither step times nor memory were measured in this study."),
    )


def rate_figure(study: Study) -> Figure:
    """The final metric against the learning rate, for every batch size."""
    metric, split = study.workload.metrics[0].name, deciding_split(study)
    rates = {record.trial.learning_rate for record in study.records}
    nothing = text("No trial at any learning rate ended well.")
    if not rates:
        nothing = text("No trials have been run.")
    elif not study.workload.takes_rate:
        nothing = text("The command takes no learning rate.")
    elif len(rates) == 1:
        nothing = text(
            "One learning rate was run, so nothing can be said about others; add some with "
            "--learning-rates."
        )
    panel = Panel(
        "e-rates",
        text("final {what}", what=split_label(split, metric)),
        metric,
        tuple(_rate_rows(study, split)),
        axis="learning_rate",
        is_metric=True,
    )
    return Figure(
        "e",
        "learning-rates",
        text("Metric against learning rate"),
        (panel,) if len(rates) > 1 else (),
        notes=(
            text(
                "A ring marks the rate that the other figures show: the best on {split} data, of "
                "those at which all seeds ended well if there are any.",
                split=term_text(split),
            ),
            text("A × on the axis is a trial that ended badly or has not ended at that rate."),
        ),
        nothing=nothing,
        data="rates",
        table=rate_table(study),
    )


def _rate_rows(study: Study, split: Split) -> Iterator[Row]:
    chosen = chosen_cells(study)
    for cell in cells(study):
        base: Row = {**kind_fields(study, cell), "learning_rate": cell.learning_rate}
        final = cell.final(study, split)
        if final:
            drawn: Row = {"kind": "curve", "run": "mean", "chosen": cell in chosen, "marked": True}
            yield {**base, **drawn, **seeds_row(final)}
        for record in cell.others:
            yield {**base, "kind": "lost", "run": trial_words(record)}


def rate_table(study: Study) -> Table:
    """The final deciding metric of every cell, and the trials that are in no mean."""
    metric, split = study.workload.metrics[0].name, deciding_split(study)
    label, chosen = split_label(split, metric), chosen_cells(study)

    def final(key: str, label: str, of: Callable[[Sequence[float]], Value]) -> Column:
        def value(cell: Cell) -> Value:
            found = cell.final(study, split)
            return of(found) if found else None

        return Column(key, metric, label, of=value)

    def others(cell: Cell) -> str:
        return "; ".join(trial_words(record) for record in cell.others)

    def is_chosen(cell: Cell) -> str:
        return text("yes") if cell in chosen and cell.final(study, split) else ""

    return table_of(
        text("Final {what} by {kind} and learning rate", what=label, kind=kind_word(cells(study))),
        cells(study),
        Column("batch", label=kind_word(cells(study)), of=lambda cell: cell_label(study, cell)),
        Column("learning_rate", of=attrgetter("shown_rate")),
        final(f"{split}_{metric}", text("mean {what}", what=label), fmean),
        final("low", text("lowest"), min),
        final("high", text("highest"), max),
        Column("n", label=text("seeds"), of=lambda cell: len(cell.ended_well)),
        Column("others", "status", text("not averaged"), of=others),
        Column("chosen", label=text("shown above"), of=is_chosen),
    ).without_empty_columns()


# How a panel by batch size is called; what else was measured of models is shown along training.
_BY_SIZE = {"at_the_start": "{what}, at the start", "at_the_end": "{what}, at the end"}


def noise_figure(study: Study) -> Figure:
    """What was measured of the models at their steps, along training and at its end."""
    chosen = chosen_cells(study)
    rows = [row for row in measurement_rows().values() if row.of_batch_size is None and row.figure]
    # Those that were asked for first.
    rows.sort(key=lambda row: (not row.on_request, row.figure != "along_training"))
    panels = [_measured_panel(study, chosen, row) for row in rows]
    shown = [row for row, panel in zip(rows, panels, strict=True) if panel.has_marks]
    return Figure(
        "f",
        "noise",
        text("What the noise does"),
        panels,
        notes=_noise_notes(study, chosen, shown),
        nothing=text("No model was measured on its way."),
    )


def _measured_panel(study: Study, chosen: tuple[Cell, ...], measurement: Measurement) -> Panel:
    name = measurement.quantity.name
    title = _BY_SIZE.get(measurement.figure or "")
    along = _along_rows(study, chosen, name)
    rows = along if title is None else _by_size_rows(study, chosen, measurement)
    return Panel(
        f"f-{name}",
        text(title or "{what}", what=label_text(name)),
        name,
        tuple(rows),
        axis="step" if title is None else "batch_size",
    )


def _along_rows(study: Study, chosen: tuple[Cell, ...], name: str) -> Iterator[Row]:
    """Along training; a logarithmic axis has no place for the initial weights."""
    for cell in chosen:
        taken = [place for place in measured_curve(cell, name) if place["step"]]
        shown = thinned(taken, MOST_MEASURED)
        marked = thinned(shown, MOST_MARKS)
        for place in shown:
            line: Row = {**kind_fields(study, cell), "kind": "curve", "run": "mean"}
            yield {**line, **place, "marked": place in marked}


def _by_size_rows(
    study: Study, chosen: tuple[Cell, ...], measurement: Measurement
) -> Iterator[Row]:
    """By batch size, with the dashed line of theory through it."""
    at_the_start = measurement.figure == "at_the_start"
    values = {}
    for cell in chosen:
        if isinstance(cell.kind, str):  # it has no place on the axis of batch sizes
            continue
        seen = measured_once(cell, measurement.quantity.name, at_the_start=at_the_start)
        if not seen:
            continue
        middle = values[cell.batch_size] = measurement.of_seeds(seen)
        if middle != 0:  # which has no place there
            yield from size_rows({"batch_size": cell.batch_size}, seen, middle)
    if measurement.expected is not None:
        for size, value in sorted(measurement.expected(values, study).items()):
            yield mark("rule", value, series="expected", batch_size=size)


def _noise_notes(
    study: Study, chosen: tuple[Cell, ...], shown: Sequence[Measurement]
) -> Iterator[str]:
    drawn = replace(study, records=tuple(record for cell in chosen for record in cell.records))
    yield from (note for row in shown for note in row.notes(drawn))
    # Sharpness in other boxes is what a paper asks for; who looks for sharpness needs one of them.
    asked_for = [name for name in on_request() if not name.startswith("sharpness_")]
    missing = [name for name in asked_for if name not in {row.quantity.name for row in shown}]
    if missing:
        yield text(
            "Not measured here: {missing}. {command} measures them at the start and where an epoch "
            "ends.",
            missing=", ".join(map(label_text, missing)),
            command=" ".join(["batchlab sweep", *(f"--measure {name}" for name in missing)]),
        )
    yield from _chosen_notes(study, chosen)


def plans_figure(study: Study) -> Figure:
    """Draw the batch size and the learning rate of each plan along its run."""
    chosen = [cell for cell in chosen_cells(study) if cell.ended_well]
    quantities = ["batch_size"]
    # With a schedule the rate of a step is the product of the schedule and the plan.
    if all(cell.records[0].trial.horizon_steps is None for cell in chosen):
        quantities.append("learning_rate")
    panels = [
        Panel(
            f"g-{quantity}",
            label_text(quantity),
            quantity,
            list(_plan_rows(study, chosen, quantity)),
            axis="samples",
        )
        for quantity in quantities
    ]
    return Figure(
        "g",
        "plans",
        text("Batch size and learning rate along the run"),
        panels,
        notes=(
            text(
                "Where decay would cut the rate, grow takes a larger batch; at the largest it cuts "
                "the rate too."
            ),
            text("Lines of the same value are drawn beside each other."),
        ),
        nothing=text("No trial of a plan ended well."),
        table=_plans_table(study, chosen),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """A part of a run in which batch size and rate stay as they are."""

    cell: Cell
    from_samples: int
    to_samples: int
    batch_size: int
    learning_rate: float


def _parts_of(cell: Cell) -> Iterator[_Part]:
    record = cell.ended_well[0]
    plan = record.trial.plan
    begins = [0, *(stage.from_samples for stage in plan.stages), record.samples]
    for begin, end in pairwise(begins):
        stage = plan.stage_at(plan.step_at(begin))
        yield _Part(
            cell=cell,
            from_samples=begin,
            to_samples=end,
            batch_size=stage.batch_size,
            learning_rate=cell.learning_rate * stage.rate_factor,
        )


def _plan_rows(study: Study, chosen: Sequence[Cell], quantity: str) -> Iterator[Row]:
    """Two points for each part of a run: where it begins and where it ends."""
    for number, cell in enumerate(chosen):
        lane = number - (len(chosen) - 1) / 2
        line: Row = {"kind": "curve", **kind_fields(study, cell), "lane": lane}
        for part in _parts_of(cell):
            for samples in (part.from_samples, part.to_samples):
                yield {**line, "samples": samples, "mean": getattr(part, quantity)}


def _plans_table(study: Study, chosen: Sequence[Cell]) -> Table:
    return table_of(
        text("Batch size and learning rate of each plan, and from which example on"),
        [part for cell in chosen for part in _parts_of(cell)],
        Column("plan", label=text("plan"), of=lambda part: cell_label(study, part.cell)),
        Column("from_samples", "n", text("from")),
        Column("batch_size"),
        Column("learning_rate"),
    )
