"""Words, chart rows and figures for the configurations of a study (each a `Cell`)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter, itemgetter

from batchlab.belief.cells import Cell, cells, chosen_cells, held_out_split
from batchlab.belief.equal_budget import EqualBudget
from batchlab.belief.evidence import Measured
from batchlab.records.quantities import FRACTION_METRICS
from batchlab.records.study import Study
from batchlab.records.trial import Split, Target, Trial, TrialRecord
from batchlab.report.figure import (
    Figure,
    Panel,
    Row,
    SizeLook,
    explained,
    kinds_of,
    looks,
    mark,
    rows_of_kinds,
    seeds_row,
    size_rows,
    thinned,
)
from batchlab.report.table import CellValue, Column, Table
from batchlab.report.text import batch_text, label_text, quantity_text, size_text, split_label
from batchlab.words.catalogue import number_text, sentence, term_text, text

# ---- names of configurations


def cell_label(study: Study, cell: Cell) -> str:
    """Return a configuration's name for a table: "64", "4096 (full)", "grow (32 to 512)"."""
    trial = cell.records[0].trial
    label = size_text(trial.batch_size, study.workload.n_train)
    if isinstance(cell.kind, int):
        return label
    if cell.kind == "grow":
        label = f"{label} to {trial.largest_batch_size}"
    return f"{term_text(cell.kind)} ({label})"


def cell_fields(cell: Cell) -> Row:
    """Return the fields that identify a configuration in chart rows: plan, batch size or both."""
    if isinstance(cell.kind, int):
        return {"batch_size": cell.kind}
    return {"plan": cell.kind, "batch_size": cell.batch_size}


def figure_looks(study: Study) -> tuple[SizeLook, ...]:
    """Return the color, dash and shape of each batch size and plan of a study."""
    plans = [cell.kind for cell in chosen_cells(study) if isinstance(cell.kind, str)]
    return looks(study.batch_sizes, n_train=study.workload.n_train, plans=plans)


# ---- measured values of configurations


def budget_text(budget: EqualBudget | None) -> str:
    """Return a budget in words: "equal steps (1,280 each)", "equal time (2.1 s each)"."""
    if budget is None:
        return "the end"
    form = {"time": "train_s", "steps": ",.6g", "epochs": ".3g"}[budget.name]
    amount = number_text(budget.amount, form)
    return f"equal {budget.name} ({amount} each)"


def measured_text(measured: Measured) -> str:
    """Return the name of measured values: "validation accuracy", "training minus test accuracy"."""
    what = split_label(measured.split, measured.study.workload.metrics[0].name)
    return f"training minus {what}" if measured.is_gap else what


def measured_quantity(measured: Measured) -> str:
    """Return the name of the quantity that gives measured values their unit and format."""
    if measured.is_gap:
        return gap_quantity(measured.study)
    return measured.study.workload.metrics[0].name


def level_text(measured: Measured, cell: Cell) -> str:
    """Return a configuration's mean value in words: "97.00 % at batch size 64"."""
    value = quantity_text(measured_quantity(measured), measured.level(cell))
    at = "at" if isinstance(cell.kind, int) else "with"
    return f"{value} {at} {batch_text(measured.study, cell.kind)}"


def gap_quantity(study: Study) -> str:
    """Return the quantity of metric gaps: "gap_points" for fractions, else "generalization_gap"."""
    metric, split = study.workload.metrics[0].name, held_out_split(study) or "train"
    if metric not in FRACTION_METRICS:
        return "generalization_gap"
    for record in study.records:
        last = record.last(split, metric)
        if record.ended_well and last is not None and abs(last) > 1:
            # A value above 1 shows that the script reports percent, not a fraction. "gap_points"
            # would multiply the gap by 100, but a gap between percentages is already in points.
            return "generalization_gap"
    return "gap_points"


# ---- how trials ended


def status_text(record: TrialRecord) -> str:
    """Return the status of a trial, or "unfinished" if it has none yet."""
    return "unfinished" if record.status is None else str(record.status)


def trial_words(record: TrialRecord) -> str:
    """Describe a trial in a few words: "seed 1: diverged at epoch 3"."""
    status = term_text(status_text(record))
    return f"seed {record.trial.seed}: {status} at epoch {record.epochs:.3g}"


def trial_counts(study: Study) -> str:
    """Return the number of trials by status: "3 trials: 2 ok, 1 diverged."."""
    if not study.records:
        return "No trials yet."
    counts = Counter(map(status_text, study.records))
    ended = ", ".join(f"{count} {term_text(status)}" for status, count in counts.most_common())
    return text("{n:1 trial|# trials}: {ended}.", n=len(study.records), ended=ended)


# ---- every observation


def observations_table(study: Study) -> Table:
    """Return every observation of every trial in long format, one row per number.

    A number that belongs to no split has an empty split; a trial without evaluations has one row.
    """
    identity = ("trial_id", "batch_size", "learning_rate", "seed")
    place = ("epoch", "step", "samples", "train_s", "eval_s", "equal_time_s")
    columns = tuple(map(Column, (*identity, *place, "split", "metric", "value")))
    rows = itertools.chain.from_iterable(map(partial(_observations, study), study.records))
    return Table(
        caption="One row per observation, joined by trial_id", columns=columns, rows=tuple(rows)
    )


def shown_rate(study: Study, trial: Trial) -> float | None:
    """Return a trial's learning rate, or None if the study's command does not accept a rate."""
    return trial.learning_rate if study.workload.takes_rate else None


def _observations(study: Study, record: TrialRecord) -> Iterator[tuple[CellValue, ...]]:
    trial = record.trial
    identity = (trial.trial_id, trial.batch_size, shown_rate(study, trial), trial.seed)
    if not record.evaluations:
        yield (*identity, *([None] * 9))
    for evaluation in record.evaluations:
        place = (
            round(record.epoch_of(evaluation), 6),
            evaluation.step,
            evaluation.samples,
            evaluation.train_s,
            evaluation.eval_s,
            study.train_s(trial, evaluation.step),
        )
        for score in evaluation.scores:
            yield (*identity, *place, score.split, score.metric, score.value)
        if evaluation.step:
            yield (*identity, *place, None, "batch_loss", evaluation.batch_loss)
        for name, value in evaluation.measured:
            yield (*identity, *place, None, name, value)


# ---- values along training

MOST_POINTS = 80  # A line has at most this many points: more can't be seen; the CSV has them all.

_MOST_MARKS = 8  # At most this many points of a line get a shape, to distinguish the lines.

TrainS = Callable[[Trial, int], float | None]
"""A function that returns a trial's seconds of training until a step, or None if unknown."""


def mean_rows(
    cell: Cell, line: Row, by_seed: Sequence[Mapping[int, float]], train_s: TrainS | None = None
) -> list[Row]:
    """Return the rows of a line: the mean over seeds at each step where all seeds have a value.

    Other steps are left out, because the mean would jump where the number of seeds changes. At most
    8 rows are also drawn as points.
    """
    if not by_seed:
        return []
    steps = thinned(sorted(set.intersection(*map(set, by_seed)) - {0}), MOST_POINTS)
    marked = thinned(steps, _MOST_MARKS)
    rows: list[Row] = []
    for step in steps:
        place = _place(cell, step, [values[step] for values in by_seed], train_s)
        rows.append({**line, "kind": "curve", "run": "mean", **place, "marked": step in marked})
    return rows


def _place(cell: Cell, step: int, values: Sequence[float], train_s: TrainS | None) -> Row:
    trial = cell.records[0].trial
    place: Row = {"epoch": trial.plan.epoch_at(step), "step": step}
    if train_s is not None:
        seconds = train_s(trial, step)
        if seconds is not None:
            place["equal_time_s"] = seconds
    return place | seeds_row(values)


def seeds_notes(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield sentences that explain how a chart shows the differences between seeds."""
    n_seeds = max(map(len, map(attrgetter("ended_well"), cells)), default=0)
    if n_seeds > 1:
        yield "Lines and large marks: means over the seeds. Bands and bars: their range."
        yield "Small circles: single seeds."


# ---- learning curves

Shown = tuple[Split, str]
"""The split of the data and the metric that a panel shows."""

# A line counts as complete if it has `_WHOLE` of the longest line's epochs. The range of the
# vertical axis ignores the first epochs, up to the fraction `_FIRST`.
_WHOLE, _FIRST = 0.99, 0.1

# For each view of the curves: the quantity on the horizontal axis, and the key of the sentence that
# explains the view.
_VIEWS = {
    "epochs": ("epoch", "equal_epochs"),
    "steps": ("step", "equal_steps"),
    "time": ("equal_time_s", "equal_time"),
}


def curve_figure(
    study: Study,
    cells: Sequence[Cell],
    shown: Sequence[Shown],
    *,
    train_s: TrainS,
    target: Target | None = None,
) -> Figure:
    """Draw metrics along training, one line per batch size or plan.

    `train_s` returns the seconds of a training until a step. A horizontal line marks `target`.
    """
    rows = list(_curve_rows(cells, shown, train_s))
    panels: list[Panel] = []
    for view in _VIEWS:
        panels += _curve_panels(rows, shown, view, target)
    notes = (*_curve_notes(study, cells, panels), *seeds_notes(cells))
    return Figure("b", "curves", "Learning curves", panels, notes=notes)


def _curve_panels(
    rows: Sequence[Row], shown: Sequence[Shown], view: str, target: Target | None
) -> Iterator[Panel]:
    axis, _ = _VIEWS[view]
    for number, (split, metric) in enumerate(shown):
        # Panels of one metric have the same axis range, so that splits can be compared.
        of_metric = [row for row in rows if row["metric"] == metric and axis in row]
        drawn = [row for row in of_metric if row["split"] == split]
        marked: list[Row] = []
        if target is not None and (split, metric) == ("validation", target.metric):
            words = f"target {quantity_text(metric, target.value)}"
            marked.append(mark("level", target.value, text=words))
        if drawn:
            yield Panel(
                f"b-{view}-{split}-{number}",
                split_label(split, metric),
                metric,
                drawn + marked,
                axis=axis,
                is_metric=True,
                frame=_framed(of_metric) + marked,
                view=view,
            )


def _framed(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that set the vertical range: complete trainings without the first tenth.

    The first tenth is left out because its large changes would hide the differences at the end.
    Of a line that stopped early or at a target, only the last value is used.
    """

    def line(row: Row) -> object:
        return row.get("plan"), row.get("batch_size")

    longest = max(map(itemgetter("epoch"), rows), default=0.0)
    curves = rows_of_kinds(rows, "curve")
    last = dict(zip(map(line, curves), curves, strict=True))
    whole = [key for key, row in last.items() if row["epoch"] >= _WHOLE * longest]
    later = [row for row in rows if row["epoch"] >= _FIRST * longest]
    return [*last.values(), *(row for row in later if line(row) in whole)]


def _curve_rows(cells: Sequence[Cell], shown: Sequence[Shown], train_s: TrainS) -> Iterator[Row]:
    """Yield the points of all lines: the mean of each configuration, and single trials.

    A failed or unfinished trial is drawn from its first step. Of any other trial, only the part
    after the end of its configuration's mean is drawn.
    """
    for cell, (split, metric) in itertools.product(cells, shown):
        name: Row = {**cell_fields(cell), "split": split, "metric": metric}
        by_seed = [_by_step(record, split, metric) for record in cell.ended_well]
        mean = mean_rows(cell, name, by_seed, train_s)
        yield from mean
        for record in cell.records:
            averaged_to = mean[-1]["step"] if mean and record.ended_well else 0
            values = _by_step(record, split, metric)
            alone = [step for step in values if step >= max(averaged_to, 1)]
            if alone == [averaged_to]:
                continue
            for step in thinned(alone, MOST_POINTS):
                place = _place(cell, step, (values[step],), train_s)
                is_end = step == alone[-1] and not record.ended_well
                line: Row = {**name, "kind": "lone", "run": trial_words(record)}
                yield {**line, **place, "marked": is_end}


def _by_step(record: TrialRecord, split: Split, metric: str) -> dict[int, float]:
    return {evaluation.step: value for evaluation, value in record.curve(split, metric)}


def _curve_notes(study: Study, cells: Sequence[Cell], panels: Sequence[Panel]) -> Iterator[str]:
    drawn = set(map(attrgetter("view"), panels))
    for view, (_, equal) in _VIEWS.items():
        if view in drawn:
            yield sentence(equal)
    yield "Vertical axis: made for what comes after the first tenth of a training."
    n, n_train = study.workload.n_train_evaluated, study.workload.n_train
    if 0 < n < n_train and any("train" in panel.key for panel in panels):
        yield sentence("train_metric_subset", n=n, n_train=n_train)
    if any(map(attrgetter("others"), cells)):
        yield "Dotted, up to ×: single trials in no mean, unfinished or ended badly."


# ---- learning rates


def rates_figure(
    study: Study,
    *,
    best: Mapping[int, float],
    start: int,
    believed: Mapping[int, float],
    by_rate: Panel | None = None,
) -> Figure:
    """Draw the learning rates of a study by batch size, if there are several rates.

    Args:
        study: the study, whose trials took the rates.
        best: the rate of each batch size in the report's other figures.
        start: the batch size from whose best rate the scaling rules compute the other rates.
        believed: the best rate of each batch size, as estimated from all runs.
        by_rate: a panel to add, if any.
    """
    tried = [cell for cell in cells(study) if isinstance(cell.kind, int)]
    rows: list[Row] = []
    if study.workload.takes_rate and len(set(map(attrgetter("learning_rate"), tried))) > 1:
        rows += _rule_rows(best, start)
        if len(believed) > 1:
            for size, rate in believed.items():
                line = mark("band", rate, series="belief", batch_size=size)
                rows.append(line | {"low": rate, "high": rate})
        for cell in tried:
            kind = "failed" if all(record.has_failed for record in cell.records) else "run"
            rows.append(mark(kind, cell.learning_rate, batch_size=cell.batch_size))
        rows += [mark("point", rate, batch_size=size) for size, rate in best.items()]
    panels = [Panel("c-rates", label_text("learning_rate"), "learning_rate", rows)]
    if rows and by_rate is not None:
        panels.append(by_rate)
    notes = list(explained(_RATE_LEGEND, rows, size=start))
    if "rule" in kinds_of(rows):
        notes.append(sentence("rates_are_rough"))
    return Figure("c", "learning-rates", "Learning rate by batch size", panels, notes=notes)


# The scaling rules to draw: rate ~ batch size ** power.
_RULES = {"linear": 1.0, "sqrt": 0.5}


def _rule_rows(best: Mapping[int, float], start: int) -> Iterator[Row]:
    if start not in best or len(best) == 1:
        return  # at one batch size all rules agree, and their names would overlap
    for rule, power in _RULES.items():
        for size in best:
            # Only the last point of the drawn line carries the name of the rule.
            name = rule if size == max(best) else None
            rate = best[start] * (size / start) ** power
            yield mark("rule", rate, series=rule, text=name, batch_size=size)


# The sentence below the chart that explains each kind of mark.
_RATE_LEGEND = {
    "point": "Large marks: the rates in the other figures.",
    "run": "Small circles: all rates tried.",
    "failed": "×: a run at this rate diverged or failed.",
    "band": "Line: the best rate, estimated from all runs.",
    "rule": "Dashed: the scaling rules, from the best rate of batch size {size}.",
}


# ---- the machine


def machine_figure(times: Sequence[Row], peaks: Sequence[Row], notes: Iterable[str]) -> Figure:
    """Draw time per step and peak memory by batch size."""
    panels = [
        Panel("d-step_s", label_text("step_s"), "step_s", times),
        Panel("d-peak_bytes", label_text("peak_bytes"), "peak_bytes", peaks),
    ]
    return Figure("d", "machine", "Time per step and memory", panels, notes=notes)


# ---- training and held-out data


def gap_figure(study: Study, cells: Sequence[Cell]) -> Figure:
    """Draw the final metric on training and on held-out data by batch size."""
    metric, held_out = study.workload.metrics[0].name, held_out_split(study)
    rows = tuple(_gap_rows(study, cells))
    dashed = term_text(held_out or "train")
    title = f"final {label_text(metric)}: train solid, {dashed} dashed"
    panels = [Panel("e-gap", title, metric, rows, is_metric=True)]
    if len(set(map(itemgetter("series"), rows))) < 2:
        panels = []
    notes = ("Marks: means over seeds. Bars: their range.",)
    return Figure("e", "gap", "Training and held-out data", panels, notes=notes)


def _gap_rows(study: Study, cells: Sequence[Cell]) -> Iterator[Row]:
    held_out = held_out_split(study)
    # Train comes first, because the first line is drawn solid.
    for split, cell in itertools.product(("train", held_out), cells):
        if split is None or isinstance(cell.kind, str):
            continue  # a plan can't be shown on an axis of batch sizes
        values = cell.final(study, split)
        if values:
            at: Row = {"batch_size": cell.batch_size, "learning_rate": cell.shown_rate}
            yield from size_rows(at | {"series": split}, values)
