"""Cells: the trials of one batch size at one learning rate, what they reached and how they went."""

from __future__ import annotations

import functools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from batchlab.laws.plateau import Plateau, plateau_of
from batchlab.records.study import StepTiming, Study
from batchlab.records.trial import Split, TrialRecord
from batchlab.report.figure import Row, seeds_row
from batchlab.report.palette import Look, looks
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import quantity_text
from batchlab.words.catalogue import listing, plural, term_text, text

# ---- which data decide


def deciding_split(study: Study) -> Split:
    """The split that learning rates are compared on: never the test set."""
    return "validation" if study.workload.has_validation else "train"


def held_out_split(study: Study) -> Split | None:
    """The split that the train metric is held against: test, else validation, else none."""
    if study.workload.n_test:
        return "test"
    return "validation" if study.workload.has_validation else None


# ---- one number a seed


def final_gap(record: TrialRecord, held_out: Split, metric: str) -> float | None:
    """Train metric less held-out metric at the last evaluation; None if it does not know both."""
    train, other = record.final("train", metric), record.final(held_out, metric)
    return None if train is None or other is None else train - other


def mean_of(values: Sequence[float]) -> float | None:
    """The mean of the seeds' numbers; None: there are none."""
    return statistics.fmean(values) if values else None


def _known(values: Iterable[float | None]) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)


# ---- cells


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The trials of one batch size at one learning rate, one a seed, in the order asked for."""

    records: tuple[TrialRecord, ...]

    @property
    def batch_size(self) -> int:
        """Examples per step."""
        return self.records[0].trial.batch_size

    @property
    def learning_rate(self) -> float:
        """The rate of its trials."""
        return self.records[0].trial.learning_rate

    @property
    def ended_well(self) -> tuple[TrialRecord, ...]:
        """The trials whose numbers may be averaged."""
        return tuple(record for record in self.records if record.ended_well)

    @property
    def others(self) -> tuple[TrialRecord, ...]:
        """The trials that ended badly or have not ended: shown one by one, never averaged."""
        return tuple(record for record in self.records if not record.ended_well)

    def final(self, split: Split, metric: str) -> tuple[float, ...]:
        """The last known `metric` of every trial that ended well."""
        return _known(record.final(split, metric) for record in self.ended_well)

    def final_gap(self, held_out: Split, metric: str) -> tuple[float, ...]:
        """Train metric less held-out metric at the last evaluation that knows both."""
        return _known(final_gap(record, held_out, metric) for record in self.ended_well)

    def worth(self, study: Study) -> float:
        """An order of rates by the mean final metric that decides; -inf: no trial knows it."""
        metric = study.workload.metrics[0]
        mean = mean_of(self.final(deciding_split(study), metric.name))
        if mean is None:
            return -math.inf
        return mean if metric.better == "higher" else -mean


def of_constant_size(study: Study) -> Study:
    """The study without what only plans need: trials of one size, no longer than all of them.

    What a large batch was trained longer, for equal time, is another length than the others have.
    """
    constant = [record for record in study.records if not record.trial.stages]
    if len(constant) == len(study.records):
        return study
    well = [record.epochs for record in study.records if record.ended_well]
    shortest = min(well, default=math.inf) * (1 + 1e-9)
    kept: dict[tuple[int, float, int], TrialRecord] = {}
    # Under a schedule the longer one is another trial of the same size, rate and seed.
    for record in sorted(constant, key=lambda record: (not record.ended_well, record.epochs)):
        trial = record.trial
        kept.setdefault((trial.batch_size, trial.learning_rate, trial.seed), record)
    ids = {record.trial.trial_id for record in kept.values()}
    records = (
        replace(
            record,
            evaluations=tuple(e for e in record.evaluations if record.epoch_of(e) <= shortest),
        )
        for record in constant
        if record.trial.trial_id in ids
    )
    return replace(study, records=tuple(records))


def cells(study: Study) -> tuple[Cell, ...]:
    """All cells of one batch size throughout, by batch size and then by learning rate."""
    found: dict[tuple[int, float], list[TrialRecord]] = {}
    for record in study.records:
        if record.trial.stages:
            continue
        found.setdefault((record.trial.batch_size, record.trial.learning_rate), []).append(record)
    return tuple(Cell(records=tuple(found[key])) for key in sorted(found))


def chosen_cells(study: Study) -> tuple[Cell, ...]:
    """For every batch size the cell whose curves the report shows.

    Where several learning rates were run that is the one with the best mean final value of the
    study's first metric on validation data (train data where there are none). Rates at which
    every seed ended well come before rates at which some did.
    """

    def preference(cell: Cell) -> tuple[bool, bool, float]:
        worth = cell.worth(study)
        return math.isfinite(worth), not cell.others, worth

    by_batch_size: dict[int, list[Cell]] = {}
    for cell in cells(study):
        by_batch_size.setdefault(cell.batch_size, []).append(cell)
    return tuple(max(choices, key=preference) for choices in by_batch_size.values())


def figure_looks(study: Study) -> tuple[Look, ...]:
    """How the batch sizes of a study are drawn."""
    return looks(study.batch_sizes, n_train=study.workload.n_train)


@functools.lru_cache(maxsize=1)
def plateaus_of(study: Study) -> Callable[[TrialRecord], Plateau]:
    """The plateau of each trial of a study, by the metric that counts: fitted once, when asked."""
    metric = study.workload.metrics[0]
    found: dict[str, Plateau] = {}

    def plateau(record: TrialRecord) -> Plateau:
        trial_id = record.trial.trial_id
        if trial_id not in found:
            found[trial_id] = plateau_of(record, metric=metric.name, better=metric.better)
        return found[trial_id]

    return plateau


# ---- along training: rows with their place and what the seeds have there


def mean_curve(cell: Cell, split: Split, metric: str, timing: StepTiming | None) -> list[Row]:
    """The places that every trial that ended well has reached.

    A place that only some seeds reached is left out: a mean over fewer seeds would jump there.
    """
    known = [
        {evaluation.step: value for evaluation, value in record.curve(split, metric)}
        for record in cell.ended_well
    ]
    return _shared_places(cell, known, timing)


def lone_curves(
    cell: Cell, split: Split, metric: str, timing: StepTiming | None
) -> Iterator[tuple[TrialRecord, list[Row]]]:
    """The trials that are drawn one by one, and which part of their curve.

    These are the trials that ended badly or have not ended, and what a trial that ended well has
    beyond the last place that all its seeds reached.
    """
    shared = mean_curve(cell, split, metric, timing)
    last_shared = int(shared[-1]["step"] or 0) if shared else -1
    for record in cell.records:
        averaged_to = last_shared if record.ended_well else -1
        curve = [(each.step, value) for each, value in record.curve(split, metric)]
        if curve and curve[-1][0] > averaged_to:
            beyond = [(step, value) for step, value in curve if step >= averaged_to]
            yield record, [_place(cell, step, (value,), timing) for step, value in beyond]


def measured_curve(cell: Cell, quantity: str) -> list[Row]:
    """What was measured of the models at each step, as `mean_curve`."""
    return _shared_places(cell, [_measured(record, quantity) for record in cell.ended_well], None)


def measured_once(cell: Cell, quantity: str, *, at_the_start: bool) -> tuple[float, ...]:
    """What was measured of each trial's initial weights, or else last."""
    found: list[float] = []
    for record in cell.ended_well:
        known = _measured(record, quantity).items()
        found += [value for step, value in known if (step == 0) == at_the_start][-1:]
    return tuple(found)


def _measured(record: TrialRecord, quantity: str) -> dict[int, float]:
    """What was measured of one trial's model, by step."""
    return {
        evaluation.step: value
        for evaluation in record.evaluations
        if (value := evaluation.measurement(quantity)) is not None
    }


def _shared_places(
    cell: Cell, by_seed: Sequence[Mapping[int, float]], timing: StepTiming | None
) -> list[Row]:
    """The steps that all seeds have; by_seed: of each, values by step."""
    shared = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
    return [_place(cell, step, [values[step] for values in by_seed], timing) for step in shared]


def _place(cell: Cell, step: int, values: Sequence[float], timing: StepTiming | None) -> Row:
    place: Row = {"epoch": cell.records[0].trial.plan.epoch_at(step), "step": step}
    if timing is not None:  # steps times the step time measured alone
        place["equal_time_s"] = step * timing.step_s
    return place | seeds_row(values)


# ---- how trials ended


def status_text(record: TrialRecord) -> str:
    """The status of a trial, "unfinished" while it has none."""
    return "unfinished" if record.status is None else str(record.status)


def trial_words(record: TrialRecord) -> str:
    """A trial in a few words: "seed 1: diverged at epoch 3"."""
    return text(
        "seed {seed}: {status} at epoch {epochs:.3g}",
        seed=record.trial.seed,
        status=term_text(status_text(record)),
        epochs=record.epochs,
    )


def trial_counts(study: Study) -> str:
    """How many trials there are and how they ended, as a sentence."""
    if not study.records:
        return text("No trials have been run.")
    counts = Counter(map(status_text, study.records))
    ended = ", ".join(
        text("{n} {status}", n=count, status=term_text(status))
        for status, count in counts.most_common()
    )
    said = plural("{n} trial: {ended}.", "{n} trials: {ended}.", len(study.records), ended=ended)
    places = Counter(record.place for record in study.records if record.place is not None)
    if len(places) < 2:
        return said
    where = listing([text("{n} on {place}", n=n, place=name) for name, n in places.most_common()])
    return text("{said} They ran in different places: {where}.", said=said, where=where)


def rate_notes(study: Study, chosen: tuple[Cell, ...]) -> Iterator[str]:
    """What a reader must know of the learning rates before comparing batch sizes."""
    if len(chosen) < 2:
        return
    rates = {record.trial.learning_rate for record in study.records}
    pairs = ", ".join(
        f"{c.batch_size}: {quantity_text('learning_rate', c.learning_rate)}" for c in chosen
    )
    if len(rates) == 1:
        yield text(
            "All batch sizes share the learning rate {rate:learning_rate}: this compares them at "
            "one rate, not each at its best.",
            rate=next(iter(rates)),
        )
    elif len(cells(study)) == len(study.batch_sizes):
        yield text(
            "Each batch size has one learning rate ({pairs}): this compares them as these rates "
            "have it, not each at its best.",
            pairs=pairs,
        )
    else:
        yield text(
            "Each batch size is shown at the learning rate that was best for it on {split} data "
            "({pairs}); the best of several looks a little better there than it is.",
            split=term_text(deciding_split(study)),
            pairs=pairs,
        )


# ---- every number seen


def observations_table(study: Study) -> Table:
    """Every observation of every trial in long format: one row a number that was seen.

    `batch_loss` and what was measured of the model belong to no split: their split is empty. A
    trial without any evaluation has one row with an empty metric, so that it is not missing.
    """
    names = ("trial_id", "batch_size", "learning_rate", "seed", "epoch", "step", "samples")
    times = ("train_s", "eval_s", "equal_time_s")
    columns = tuple(
        Column(key=name, quantity=name) for name in (*names, *times, "split", "metric", "value")
    )
    rows = tuple(row for record in study.records for row in _observations(study, record))
    return Table(caption=text("Every observation of every trial"), columns=columns, rows=rows)


def _observations(study: Study, record: TrialRecord) -> Iterator[tuple[Value, ...]]:
    trial = record.trial
    identity = (trial.trial_id, trial.batch_size, trial.learning_rate, trial.seed)
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
