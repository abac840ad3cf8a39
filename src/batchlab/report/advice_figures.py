"""The figures of an advice: final value and cost by batch size, and the evidence for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter

from batchlab.advice.advice import Advice, Candidate, Configuration, variant_of
from batchlab.belief.cells import Cell, deciding_split, in_order
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate
from batchlab.records.study import Study
from batchlab.records.trial import Trial, TrialRecord
from batchlab.report.advice_rows import (
    BEST_COST,
    AnswerRow,
    answer_rows,
    answer_table,
    believed_by_size,
    cost_quantity,
    end_label,
    named_label,
    own_label,
)
from batchlab.report.cells import Shown, curve_figure, gap_figure, machine_figure, rates_figure
from batchlab.report.figure import (
    Figure,
    Panel,
    Row,
    SizeLook,
    explained,
    interval_mark,
    kinds_of,
    looks,
    mark,
    rows_of_kinds,
)
from batchlab.report.short_reports import law_notes
from batchlab.report.text import label_text, quantity_text, spread_text
from batchlab.words.catalogue import sentence, text


def advice_figures(advice: Advice, study: Study, profile: Profile) -> tuple[Figure, ...]:
    """Return the figure of the answer, then the figures of its evidence in reading order."""
    step_s = {}
    for option in advice.candidates:
        step_s[option.batch_size] = option.step_s.estimate

    def train_s(trial: Trial, step: int) -> float | None:
        per_step = step_s.get(trial.batch_size)
        return None if per_step is None else step * per_step

    shown: list[Shown] = [(deciding_split(study), advice.metric)]
    trained = trained_cells(advice, study)
    ended = trained_cells(advice, whole_trainings(advice, study))
    return (
        answer_figure(advice),
        curve_figure(study, trained, shown, train_s=train_s, target=advice.target),
        rates_figure(
            study,
            best={c.batch_size: c.learning_rate for c in advice.candidates if c.learning_rate},
            start=advice.reference.batch_size,
            believed={size: at.learning_rate for size, at in believed_by_size(advice).items()},
        ),
        _machine_figure(advice, profile),
        gap_figure(study, ended),
    )


def whole_trainings(advice: Advice, study: Study) -> Study:
    """Return the study with only the runs of full length: as many epochs as the user trains."""
    whole = set()
    for run in advice.tried:
        if run.end is not None and run.epochs is None:
            whole.add((variant_of(run), run.learning_rate, run.seed))

    def is_whole(record: TrialRecord) -> bool:
        trial = record.trial
        return (advice.variant(trial), trial.learning_rate, trial.seed) in whole

    return replace(study, records=tuple(filter(is_whole, study.records)))


def trained_cells(advice: Advice, study: Study) -> tuple[Cell, ...]:
    """Return the runs of each batch size at one learning rate, by ascending batch size.

    The recommended batch size has the recommended rate, the user's batch size has the user's rate,
    and every other batch size has its best rate. Only the longest runs of a batch size are
    returned, so that the mean over seeds has no jumps.
    """
    by_priority = [advice.named, advice.reference, *advice.candidates]
    if advice.is_usual:
        by_priority.remove(advice.reference)
    places: dict[int, Configuration | Candidate] = {}
    for place in by_priority:
        if place is not None and place.learning_rate is not None:
            places.setdefault(place.batch_size, place)
    cells = []
    for at in places.values():
        records = [record for record in study.records if advice.is_of(record.trial, at)]
        longest = max(map(attrgetter("steps"), records), default=0)
        whole = tuple(record for record in records if record.steps == longest)
        if whole:
            cells.append(Cell(records=whole, takes_rate=study.workload.takes_rate))
    return in_order(cells)


def advice_looks(advice: Advice) -> tuple[SizeLook, ...]:
    """Return the color, dash and shape of each batch size that an advice considered."""
    sizes = map(attrgetter("batch_size"), advice.candidates)
    return looks(sizes, n_train=advice.n_train)


# ---- the answer

# The sentence below a chart that explains each kind of mark.
_LEGEND = {
    "band": "Line and band: estimate from all runs, with its 95 % interval.",
    "point": "Large marks: trained batch sizes. Bars: 95 % intervals.",
    "expected": "Open marks: sizes not trained to the end, estimated from all runs.",
    "verified": "Ring: {named}.",
    "bound": "↑: a lower bound, of runs short of the target.",
}


def answer_figure(advice: Advice) -> Figure:
    """Draw final value and cost to the target by batch size.

    A curve and a band show the estimates from all runs together, with 95 % intervals.
    """
    quantity, metric, label = cost_quantity(advice), advice.metric, end_label(advice)
    ends = list(_end_rows(advice))
    panels = [Panel("a-end", label, metric, ends, is_metric=True, frame=_framed(ends))]
    if quantity is not None:
        costs = list(_cost_rows(advice, quantity))
        frame = _framed(costs)
        panels.append(Panel("a-objective", label_text(quantity), quantity, costs, frame=frame))
    title, notes = "What each batch size gives", _answer_notes(advice, panels)
    return Figure("a", "answer", title, panels, notes=notes, table=answer_table(advice))


def _answer_notes(advice: Advice, panels: Sequence[Panel]) -> Iterator[str]:
    rows = list(chain.from_iterable(map(attrgetter("rows"), panels)))
    yield from explained(_LEGEND, rows, named=named_label(advice))
    if "span" in kinds_of(rows):
        message = "Shade: surely within {share:percent} of {best}{also}."
        best = text(BEST_COST[advice.objective])
        also = "" if advice.end_quality is None else ", and no worse at the end"
        yield text(message, share=advice.delta, best=best, also=also)


def _framed(rows: list[Row]) -> list[Row]:
    """Return the rows that set the range of the vertical axis.

    If there are measured points, all other rows count without the ends of their intervals, because
    wide intervals would squeeze the points into a small part of the axis.
    """
    points = rows_of_kinds(rows, "point", "verified")
    if not points:
        return rows
    return [*points, *({**row, "low": None, "high": None} for row in rows)]


def _end_rows(advice: Advice) -> Iterator[Row]:
    believed = believed_by_size(advice)
    for size, at in believed.items():
        yield from interval_mark("band", at.end, series="belief", batch_size=size)
    rows = list(answer_rows(advice))
    ended = {row.candidate.batch_size for row in rows if row.end.estimate is not None}
    for row in rows:
        size = row.candidate.batch_size
        if row.end.estimate is not None:
            yield _answer_mark(advice, row, row.end, advice.metric)
        elif row.is_tried and size not in ended and size in believed:
            yield from interval_mark("expected", believed[size].end, batch_size=size)


def _cost_rows(advice: Advice, quantity: str) -> Iterator[Row]:
    yield from _flat_spans(advice)
    for size, believed in believed_by_size(advice).items():
        yield from interval_mark("band", believed.cost, series="belief", batch_size=size)
    for row in answer_rows(advice):
        if row.at is not None and row.cost.estimate is not None:
            yield _answer_mark(advice, row, row.cost, quantity)
        elif row.at is not None and row.cost.low is not None:
            words = None
            if row.at.is_same(advice.reference):
                words = f"{own_label(advice)}: {spread_text(quantity, row.cost)}"
            yield mark("bound", row.cost.low, batch_size=row.at.batch_size, text=words)


def _answer_mark(advice: Advice, row: AnswerRow, estimate: Estimate, quantity: str) -> Row:
    """Return the chart row of an estimate; label the recommended and the user's configuration."""
    assert row.at is not None
    kind, label = "point", None
    if row.at == advice.named:
        kind, label = "verified", named_label(advice)
    elif row.at.is_same(advice.reference):
        label = own_label(advice)
    words = label and f"{label}: {quantity_text(quantity, estimate.estimate)}"
    (drawn,) = interval_mark(kind, estimate, batch_size=row.at.batch_size, text=words)
    return drawn


# The shade over adjacent batch sizes extends by this factor beyond the smallest and largest size.
_EDGE = 2**0.25


def _flat_spans(advice: Advice) -> Iterator[Row]:
    """Yield a shade over each group of adjacent batch sizes whose cost is close to the least."""
    together: list[int] = []
    for candidate in (*advice.candidates, None):
        if candidate is not None and candidate.batch_size in advice.flat_set:
            together.append(candidate.batch_size)
        elif together:
            first, last = together[0] / _EDGE, together[-1] * _EDGE
            yield {"kind": "span", "batch_size": first, "to_size": last}
            together = []


# ---- the machine


def _machine_figure(advice: Advice, profile: Profile) -> Figure:
    times, peaks = list(_step_time_rows(advice, profile)), list(_memory_rows(advice, profile))
    return machine_figure(times, peaks, _machine_notes(profile))


def _step_time_rows(advice: Advice, profile: Profile) -> Iterator[Row]:
    law = profile.step_time
    if law is not None:
        for size in law.batch_sizes:
            yield from interval_mark("band", law.step_s(size), series="law", batch_size=size)
    for candidate in advice.candidates:
        yield from interval_mark("point", candidate.step_s, batch_size=candidate.batch_size)


def _memory_rows(advice: Advice, profile: Profile) -> Iterator[Row]:
    for candidate in advice.candidates:
        if candidate.peak_bytes is None:
            continue
        size = candidate.batch_size
        yield from interval_mark("point", Estimate.of(candidate.peak_bytes, n=1), batch_size=size)
        predicted = profile.memory.predicted_bytes(size).estimate
        if predicted is not None and predicted > 0:
            yield mark("rule", predicted, series="law", batch_size=size)
    limit = profile.memory_limit_bytes
    if limit is not None:
        yield mark("level", limit, text=f"limit {quantity_text('peak_bytes', limit)}")


def _machine_notes(profile: Profile) -> Iterator[str]:
    yield sentence("ran_alone", where=f" on {profile.device_name}")
    yield "Marks: time per step, by own steps and those of all sizes. Bars: 95 % intervals."
    yield "Line with band, and dashed line: the laws of step time and memory."
    yield from law_notes(profile)
