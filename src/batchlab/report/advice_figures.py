"""The figures of an advice: what each batch size gives, and the evidence for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from batchlab.advice.advice import Advice, Candidate, Configuration, variant_of
from batchlab.belief.cells import Cell, deciding_split, in_order
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate
from batchlab.records.study import USUAL_SIZES, Study
from batchlab.records.trial import Trial, TrialRecord
from batchlab.report.advice_rows import (
    AnswerRow,
    answer_rows,
    answer_table,
    believed_by_size,
    cost_words,
    end_label,
    named_label,
    own_label,
    run_costs,
)
from batchlab.report.cells import (
    RateTaken,
    Shown,
    curve_figure,
    gap_figure,
    rates_figure,
)
from batchlab.report.figure import (
    Figure,
    Look,
    Panel,
    Part,
    Row,
    drawn_sizes,
    interval_mark,
    mark,
    part_looks,
)
from batchlab.report.short_reports import step_time_text
from batchlab.report.text import label_text, quantity_text, spread_text
from batchlab.words.catalogue import sentence, text


def advice_figures(advice: Advice, study: Study, profile: Profile | None) -> tuple[Figure, ...]:
    """Return the figure of the answer, then its evidence in the order of the argument."""
    step_s = {each.batch_size: each.step_s.estimate for each in advice.candidates}

    def train_s(trial: Trial, step: int) -> float | None:
        per_step = step_s.get(trial.batch_size)
        return None if per_step is None else step * per_step

    shown: list[Shown] = [(deciding_split(study), advice.metric)]
    trained = trained_cells(advice, study)
    ended = trained_cells(advice, whole_trainings(advice, study))
    return (
        answer_figure(advice),
        curve_figure(study, trained, shown, train_s=train_s, target=advice.target),
        _rates_figure(advice),
        machine_figure(advice, profile),
        gap_figure(study, ended),
    )


def whole_trainings(advice: Advice, study: Study) -> Study:
    """Return the study with only the runs that were trained to their end."""
    whole = {
        (variant_of(run), run.learning_rate, run.seed)
        for run in advice.tried
        if run.end is not None
    }
    records = []
    for record in study.records:
        trial = record.trial
        key = advice.variant(trial), trial.learning_rate, trial.seed
        records += [record] if key in whole else []
    return replace(study, records=tuple(records))


def as_planned_trainings(advice: Advice, study: Study) -> Study:
    """Return the study with only whole trainings of the reference's length and weight decay."""
    records = [
        each
        for each in whole_trainings(advice, study).records
        if advice.other_epochs(each.trial) is None and each.trial.weight_decay_factor == 1
    ]
    return replace(study, records=tuple(records))


def trained_cells(advice: Advice, study: Study) -> tuple[Cell, ...]:
    """Return the runs of each batch size at the rate that stands for it, ascending.

    Among several seeds only those trained longest are kept, so that their mean has no jumps. The
    named configuration and the user's own have priority at their batch sizes.
    """
    own = [] if advice.is_usual else [advice.reference]
    places: dict[int, Configuration | Candidate] = {}
    for place in (advice.named, *own, *advice.candidates):
        if place is not None and place.learning_rate is not None:
            places.setdefault(place.batch_size, place)
    by_size: dict[int, list[TrialRecord]] = {}
    for record in study.records:
        at = places.get(record.trial.batch_size)
        if at is not None and advice.is_of(record.trial, at):
            by_size.setdefault(record.trial.batch_size, []).append(record)
    cells = []
    for records in by_size.values():
        longest = max(record.steps for record in records)
        kept = tuple(record for record in records if record.steps == longest)
        cells.append(Cell(records=kept, takes_rate=study.workload.takes_rate))
    return in_order(cells)


def advice_looks(advice: Advice) -> tuple[Look, ...]:
    """Return how to draw each measured batch size, by its part: named, yours, common or other."""
    sizes = [
        candidate.batch_size
        for candidate in advice.candidates
        if candidate.step_s.estimate is not None or candidate.peak_bytes is not None
    ]
    sizes += [tried.batch_size for tried in advice.tried]
    named = advice.named
    return part_looks(
        [*sizes, advice.reference.batch_size],
        n_train=advice.n_train,
        named=None if named is None else named.batch_size,
        yours=advice.reference.batch_size,
        usual=USUAL_SIZES,
    )


def named_looks(
    advice: Advice, looks: Iterable[Look], rows: Iterable[Row]
) -> Iterator[tuple[Look, str]]:
    """Yield one look for each part that rows draw, with its sizes: "common: 16, 32, 128"."""
    drawn = drawn_sizes(rows)
    names: dict[Part, str] = {
        "named": named_label(advice),
        "yours": own_label(advice),
        "usual": text("common"),
        "other": text("others"),
    }
    for part, name in names.items():
        of_part = [look for look in looks if look.part == part and look.kind in drawn]
        if of_part:
            sizes = ", ".join(look.label for look in of_part)
            yield of_part[0], text("{part}: {sizes}", part=name, sizes=sizes)


# ---- the answer

# The key of each kind of mark.
_LEGEND = {
    "band": "Line and band: estimate from all runs, with its 95 % interval.",
    "point": "Large marks: trained batch sizes. Bars: 95 % intervals.",
    "expected": "Open marks: sizes not trained to the end, estimated from all runs.",
    "verified": "Ring: {named}.",
    "run": "Small circles: single runs.",
    "bound": "↑: lower bounds, of runs short of the target.",
}


def answer_figure(advice: Advice) -> Figure:
    """Draw what the table shows: how each batch size ends, and its time (or samples) to the target.

    Curve and band are the belief about all batch sizes.
    """
    words = cost_words(advice)
    ends = tuple(_end_rows(advice))
    panels = [
        Panel("a-end", end_label(advice), advice.metric, ends, is_metric=True, frame=_framed(ends))
    ]
    if words is not None:
        costs = tuple(_cost_rows(advice, words.quantity))
        frame = _framed(costs)
        panels.append(Panel("a-objective", text(words.name), words.quantity, costs, frame=frame))
    traded = tuple(_frontier_rows(advice))
    frame = _framed(traded)
    title = text("{end} by seconds of a training", end=end_label(advice))
    panels.append(
        Panel(
            *("a-frontier", title, advice.metric, traded),
            axis="train_s",
            is_metric=True,
            frame=frame,
        )
    )
    kinds = {row["kind"] for panel in panels for row in panel.rows}
    named = named_label(advice)
    notes = [text(marks, named=named) for kind, marks in _LEGEND.items() if kind in kinds]
    if words is not None and "span" in kinds:
        message = "Shade: surely within {share:percent} of {best}{also}."
        also = "" if advice.endings is None else text(", and no worse at the end")
        notes.append(text(message, share=advice.delta, best=text(words.best), also=also))
    if panels[-1].has_marks:
        notes.append(text("Line by seconds: the best final value for the time."))
    if advice.target is not None:
        message = "Target: {metric:of_validation} {sign} {value}."
        sign = "≥" if advice.target.better == "higher" else "≤"
        value = quantity_text(advice.target.metric, advice.target.value)
        notes.append(text(message, metric=advice.target.metric, sign=sign, value=value))
    return Figure(
        "a",
        "answer",
        text("What each batch size gives"),
        panels,
        notes=notes,
        needs=text("two batch sizes that were trained far enough"),
        table=answer_table(advice),
    )


def _framed(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that the axis must fit.

    Beside what was measured, an interval of a value that nobody measured gets no more room than all
    values together have.
    """
    own = [row for row in rows if "mean" in row]
    if not any(row["kind"] in ("point", "verified") for row in own):
        return own
    means = [float(row["mean"] or 0.0) for row in own if row["kind"] != "band"]
    room = max(means, default=0.0) - min(means, default=0.0)
    return [_cut(row, room) if row["kind"] in ("band", "expected") else row for row in own]


def _cut(row: Row, room: float) -> Row:
    middle, low, high = (float(row[field] or 0.0) for field in ("mean", "low", "high"))
    return {**row, "low": max(low, middle - room), "high": min(high, middle + room)}


def _end_rows(advice: Advice) -> Iterator[Row]:
    ends = {size: known.end for size, known in believed_by_size(advice).items()}
    yield from _band_rows(ends, "belief")
    has_end = {
        row.candidate.batch_size
        for row in answer_rows(advice)
        if row.at is not None and row.end.estimate is not None
    }
    for row in answer_rows(advice):
        size = row.candidate.batch_size
        if row.at is not None and row.end.estimate is not None:
            yield from _answer_marks(advice, row, row.end, advice.metric)
        elif row.is_tried and size not in has_end and size in ends:
            yield from interval_mark("expected", ends[size], batch_size=size)


def _cost_rows(advice: Advice, quantity: str) -> Iterator[Row]:
    yield from _flat_spans(advice)
    costs = {size: known.cost for size, known in believed_by_size(advice).items()}
    yield from _band_rows(costs, "belief")
    for row in answer_rows(advice):
        if row.at is not None and row.cost.estimate is not None:
            yield from _answer_marks(advice, row, row.cost, quantity)
        elif row.at is not None:
            size, bound = row.at.batch_size, row.cost.low
            for run in run_costs(advice, row):
                yield mark("bound" if run.is_bound else "run", run.value, batch_size=size)
            if bound is not None and row.at.is_same(advice.reference):
                shown = spread_text(quantity, row.cost)
                words = text("{name}: {value}", name=own_label(advice), value=shown)
                yield mark("words", bound, batch_size=size, text=words)


def _frontier_rows(advice: Advice) -> Iterator[Row]:
    """Yield the ends of whole trainings by their seconds, and a line of those that none beats."""
    sign = 1 if advice.better == "higher" else -1
    ended = [row for row in answer_rows(advice) if row.at is not None and row.end.n]
    timed = [(_training_s(row), sign * (row.end.estimate or 0.0), row) for row in ended]
    marks = [(seconds, value, row) for seconds, value, row in timed if seconds is not None]
    unbeaten: list[tuple[float, float, AnswerRow]] = []
    for each in sorted(marks, key=lambda each: (each[0], -each[1])):
        if not unbeaten or each[1] > unbeaten[-1][1]:
            unbeaten.append(each)
    for seconds, _, row in unbeaten if len(unbeaten) > 1 else ():  # a single point makes no line
        yield from interval_mark("band", row.end, series="frontier", train_s=seconds)
    for seconds, _, row in marks:
        for drawn in _answer_marks(advice, row, row.end, advice.metric):
            yield {**drawn, "train_s": seconds}


def _training_s(row: AnswerRow) -> float | None:
    """Return the seconds of a whole training by its steps and step time, or None."""
    per_step = row.candidate.step_s.estimate
    steps = max((run.steps for run in row.runs if run.end is not None), default=0)
    return None if per_step is None or not steps else per_step * steps


def _answer_marks(
    advice: Advice, row: AnswerRow, estimate: Estimate, quantity: str
) -> Iterator[Row]:
    """Yield the mark of one table row, with a label if it is the user's own or named."""
    assert row.at is not None
    assert estimate.estimate is not None
    size, is_named = row.at.batch_size, row.at == advice.named
    yield from interval_mark("verified" if is_named else "point", estimate, batch_size=size)
    value = quantity_text(quantity, estimate.estimate)
    if is_named:
        words = text("{name}: {value}", name=named_label(advice), value=value)
        yield mark("named", estimate.estimate, batch_size=size, text=words)
    elif row.at.is_same(advice.reference):
        words = text("{name}: {value}", name=own_label(advice), value=value)
        yield mark("words", estimate.estimate, batch_size=size, text=words)


_EDGE = 2**0.25  # how far the shade extends beyond the batch sizes inside it


def _flat_spans(advice: Advice) -> Iterator[Row]:
    """Yield a shade for each run of neighboring batch sizes in the flat set."""
    together: list[int] = []
    for candidate in (*advice.candidates, None):
        if candidate is not None and candidate.batch_size in advice.flat_set:
            together.append(candidate.batch_size)
        elif together:
            first, last = together[0] / _EDGE, together[-1] * _EDGE
            yield {"kind": "span", "batch_size": first, "to_size": last}
            together = []


def _band_rows(curve: Mapping[int, Estimate], series: str) -> Iterator[Row]:
    for batch_size, value in curve.items():
        yield from interval_mark("band", value, series=series, batch_size=batch_size)


# ---- learning rates

_WENT_WRONG = ("diverged", "nan", "oom", "killed", "error")


def _rates_figure(advice: Advice) -> Figure:
    taken = [
        RateTaken(run.batch_size, run.learning_rate, run.status in _WENT_WRONG)
        for run in advice.tried
    ]
    rules: dict[str, dict[int, float]] = {}
    best: dict[int, float] = {}
    for candidate in advice.candidates:
        if candidate.learning_rate is not None:
            best[candidate.batch_size] = candidate.learning_rate
            for rule, rate in candidate.rule_learning_rates:
                rules.setdefault(rule, {})[candidate.batch_size] = rate
    return rates_figure(
        taken,
        best=best,
        believed={size: known.learning_rate for size, known in believed_by_size(advice).items()},
        rules=rules,
        tuned_at=advice.reference.batch_size,
    )


# ---- the machine


def machine_figure(advice: Advice, profile: Profile | None) -> Figure:
    """Draw time per step and peak memory by batch size, with the limit of the profile."""
    limit_bytes = None if profile is None else profile.memory_limit_bytes
    step_s, peak_bytes = _step_time_rows(advice), _memory_rows(advice, limit_bytes)
    return Figure(
        "d",
        "machine",
        text("Time per step and memory"),
        [
            Panel("d-step_s", label_text("step_s"), "step_s", list(step_s)),
            Panel("d-peak_bytes", label_text("peak_bytes"), "peak_bytes", list(peak_bytes)),
        ],
        notes=_machine_notes(advice, profile),
        needs=text("two batch sizes with a step time or memory"),
    )


def _step_time_rows(advice: Advice) -> Iterator[Row]:
    laws = advice.laws
    if laws is not None and laws.step_curve:
        yield from _band_rows(dict(laws.step_curve), "law")
        sizes, knee = [size for size, _ in laws.step_curve], laws.knee_batch_size.estimate
        if knee is not None and sizes[0] <= knee <= sizes[-1]:
            yield {"kind": "place", "batch_size": knee, "text": text("knee")}
    for candidate in advice.candidates:
        yield from interval_mark(
            "point",
            candidate.step_s,
            batch_size=candidate.batch_size,
            micro_batch_size=candidate.micro_batch_size,
        )


def _memory_rows(advice: Advice, limit_bytes: int | None) -> Iterator[Row]:
    laws = advice.laws
    known = {c.batch_size: c.peak_bytes for c in advice.candidates if c.peak_bytes is not None}
    for size, peak in known.items():
        yield from interval_mark("point", Estimate.of(peak, n=1), batch_size=size)
    if known and limit_bytes is not None:
        words = text("limit {limit}", limit=quantity_text("peak_bytes", limit_bytes))
        yield mark("level", limit_bytes, text=words)
    fixed = None if laws is None else laws.fixed_bytes.estimate
    slope = None if laws is None else laws.bytes_per_example.estimate
    if fixed is not None and slope is not None:
        for size in known:
            if fixed + slope * size > 0:
                yield mark("rule", fixed + slope * size, series="law", batch_size=size)


def _machine_notes(advice: Advice, profile: Profile | None) -> Iterator[str]:
    where = "" if profile is None else text(" on {device}", device=profile.device_name)
    yield sentence("ran_alone", where=where)
    yield text("Marks: time per step, by own steps and those of all sizes. Bars: 95 % intervals.")
    laws = advice.laws
    if laws is not None and laws.step_curve:
        law = step_time_text(
            overhead_s=laws.step_overhead_s,
            s_per_example=laws.step_s_per_example,
            knee=laws.knee_batch_size,
        )
        yield text("Line and band: {law}.", law=law)
    if laws is not None and laws.bytes_per_example.estimate is not None:
        fixed, each = laws.fixed_bytes.estimate, laws.bytes_per_example.estimate
        yield sentence("memory_law", fixed=fixed, each=each)
        yield text("Dashed: the memory law.")
