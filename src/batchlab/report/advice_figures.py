"""The figures of an advice by batch size: the objective, to the level, machine, learning rates."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence

from batchlab.advice.advice import Advice
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate
from batchlab.records.study import USUAL_SIZES, Study
from batchlab.report.advice_effects import ToTarget
from batchlab.report.advice_rows import (
    RunFigure,
    ShownCost,
    answer_rows,
    named_cost,
    own_cost,
    reference_runs,
    run_figures,
    single_runs,
)
from batchlab.report.advice_tables import answer_table, end_label, row_name
from batchlab.report.advice_words import (
    named_text,
    near_text,
    objective_words,
    reference_text,
    target_text,
)
from batchlab.report.figure import Figure, Panel, Row, drawn_sizes, interval_mark, mark
from batchlab.report.palette import Look, Part, part_looks
from batchlab.report.profile import step_time_text
from batchlab.report.table import Value
from batchlab.report.text import estimate_text, label_text, quantity_text
from batchlab.words.catalogue import capitalized, text


def advice_looks(advice: Advice, study: Study) -> tuple[Look, ...]:
    """How the batch sizes are drawn of which anything was measured: by their part."""
    sizes = [
        candidate.batch_size
        for candidate in advice.candidates
        if candidate.step_s.estimate is not None or candidate.peak_bytes is not None
    ]
    sizes += [tried.batch_size for tried in advice.tried]
    named = advice.named
    return part_looks(
        [*sizes, advice.reference.batch_size],
        n_train=study.workload.n_train,
        named=None if named is None else named.batch_size,
        yours=advice.reference.batch_size,
        usual=USUAL_SIZES,
    )


def named_looks(
    advice: Advice, looks: Iterable[Look], rows: Iterable[Row]
) -> Iterator[tuple[Look, str]]:
    """One look a part that rows draw, with its name and batch sizes: "usual: 16, 32, 128"."""
    drawn = drawn_sizes(rows)
    names: dict[Part, str] = {
        "named": named_text(advice),
        "yours": reference_text(advice, "short"),
        "usual": text("common"),
        "other": text("others"),
    }
    for part, name in names.items():
        found = [look for look in looks if look.part == part and look.kind in drawn]
        if found:
            sizes = ", ".join(look.label for look in found)
            yield found[0], text("{part}: {sizes}", part=name, sizes=sizes)


# ---- rows of batch sizes


def _run_rows(batch_size: int, runs: Iterable[RunFigure], kind: str) -> Iterator[Row]:
    for run in runs:
        yield mark("bound" if run.is_bound else kind, run.shown, batch_size=batch_size)


def _band_rows(curve: Iterable[tuple[int, Estimate]], series: str) -> Iterator[Row]:
    """A line with its interval; past what one run saw, unless that is all there is."""
    points = list(curve)
    known = [each for each in points if (each[1].low, each[1].high) != (None, None)]
    for batch_size, value in known or points:
        yield from interval_mark("band", value, series=series, batch_size=batch_size)


def _place_rows(found: Estimate, sizes: Sequence[int], words: str) -> Iterator[Row]:
    """A batch size that a law tells, where it lies within the axis."""
    size = found.estimate
    if size is not None and sizes and sizes[0] <= size <= sizes[-1]:
        yield {"kind": "place", "batch_size": size, "text": words}


# How the rows of a kind are read.
_READ = {
    "point": (
        "Large marks with a bar: each batch size at its best learning rate, by all runs together. "
        "Bars: the 95 % interval."
    ),
    "lone": "Large marks without a bar are of single runs.",
    "as_is": "×: {yours}, at its own learning rate, one mark a seed.",
    "ring": "A ring marks what is named.",
    "verified": "The ring with a bar is what is named, with its 95 % interval.",
    "bound": "↑: a run that had not reached the target by then; its figure is larger than this.",
    "lost": "× at the top: a run that diverged or failed (at most six are drawn at one rate).",
}


def kind_notes(advice: Advice, rows: Iterable[Row]) -> Iterator[str]:
    """How the rows of each kind are read."""
    kinds = {"ring" if row.get("chosen") else row["kind"] for row in rows}
    has_bar = {row["low"] != row["high"] for row in rows if row["kind"] == "point"}
    kinds = kinds - {"point"} | {"point" if each else "lone" for each in has_bar}
    yours = reference_text(advice, "configuration")
    yield from (text(note, yours=yours) for kind, note in _READ.items() if kind in kinds)
    if "run" in kinds:
        yield text("Small circles: single runs.")


# ---- the objective


def objective_figure(advice: Advice) -> Figure:
    """What the answer's table shows: the end, and time (samples) with the flat set.

    For quality the end is all.
    """
    words = objective_words(advice)
    panel = Panel("a-objective", words.figure, words.quantity, tuple(_objective_rows(advice)))
    title, panels = text("{figure} by batch size", figure=capitalized(words.figure)), [panel]
    end = Panel("a-end", end_label(advice), advice.metric, tuple(_end_rows(advice)), is_metric=True)
    if advice.objective != "quality" and end.has_marks:
        title = text("What each batch size ends with, and its {figure}", figure=words.figure)
        panels = [end, panel]
    return Figure(
        "a",
        "objective",
        title,
        panels,
        notes=_objective_notes(advice, panel.rows),
        nothing=text("No batch size has a figure: no run with a tuned rate gave one."),
        table=answer_table(advice),
    )


_EDGE = 2**0.25  # how far the shade reaches beyond the batch sizes inside: an interval may hold one


def _objective_rows(advice: Advice) -> Iterator[Row]:
    words = objective_words(advice)
    # The flat set, each span without a batch size in between that is not in it.
    sizes = [candidate.batch_size for candidate in advice.candidates]
    for is_flat, found in itertools.groupby(sizes, advice.flat_set.__contains__):
        together = list(found)
        if is_flat:
            first, last = together[0] / _EDGE, together[-1] * _EDGE
            yield {"kind": "span", "batch_size": first, "to_size": last}
    known = [(c, words.shown_estimate(c.cost)) for c in advice.candidates]
    yield from _band_rows(((c.batch_size, cost) for c, cost in known), "measured")
    for candidate, cost in known:
        yield from interval_mark("point", cost, batch_size=candidate.batch_size)
        if cost.estimate is None:  # an estimate stands for its runs
            runs = run_figures(advice, candidate, single_runs(advice, candidate))
            yield from _run_rows(candidate.batch_size, runs, "run")
    size, own = advice.reference.batch_size, reference_runs(advice)
    yield from _run_rows(size, own, "as_is")
    if own:
        name = _with_value(advice, reference_text(advice, "short"), own_cost(advice))
        yield mark("words", max(run.shown for run in own), batch_size=size, text=name)
    yield from _named_rows(advice)


def _end_rows(advice: Advice) -> Iterator[Row]:
    """What whole trainings end with, yours and what is named by their names."""
    for row in answer_rows(advice):
        if row.at is None or row.end.estimate is None:
            continue
        size, name, kind = row.at.batch_size, row_name(advice, row.at), "point"
        if row.at == advice.named:
            name, kind = named_text(advice), "verified"
        yield from interval_mark(kind, row.end, batch_size=size)
        if name:
            highest = row.end.estimate if row.end.high is None else row.end.high
            place = "named" if kind == "verified" else "words"
            yield mark(place, highest, batch_size=size, text=name)


def _named_rows(advice: Advice) -> Iterator[Row]:
    """What the answer names: its figure in a ring, with its name and value."""
    found, cost = advice.named, named_cost(advice)
    if found is None:
        return
    size, name = found.batch_size, _with_value(advice, named_text(advice), cost)
    if cost is not None and not cost.runs:
        yield from interval_mark("verified", cost.estimate, batch_size=size)
    for run in () if cost is None else cost.runs:
        yield mark("ring", run.shown, batch_size=size)
    if found.is_same(advice.reference):
        return
    if cost is None:
        yield {"kind": "place", "batch_size": size, "text": name}
    else:
        highest = max((run.shown for run in cost.runs), default=cost.value)
        yield mark("named", highest, batch_size=size, text=name)


def _with_value(advice: Advice, name: str, cost: ShownCost | None) -> str:
    """A name with its figure, "yours: 13.2 s", the same as in the table."""
    if cost is None:
        return name
    return text("{name}: {value}", name=name, value=cost.text(objective_words(advice).quantity))


def _objective_notes(advice: Advice, rows: Sequence[Row]) -> Iterator[str]:
    yield from kind_notes(advice, rows)
    if advice.flat_set:
        yield text(
            "Shaded: the flat set, {near} (95 % each).",
            near=near_text(advice),
        )


# ---- to the level


_VIEWS = {"time": "time_to_target_s", "epochs": "epochs_to_target", "steps": "steps_to_target"}


def level_figure(advice: Advice, to_target: Sequence[ToTarget]) -> Figure:
    """Time, epochs and steps to the target by batch size, one of them at a time."""
    panels = []
    if advice.target is not None:
        found = target_text(advice.target)
        panels = [
            Panel(
                f"d-{view}",
                text("{quantity} to {target}", quantity=text(view), target=found),
                quantity,
                tuple(_level_rows(advice, to_target, quantity)),
                view=view,
            )
            for view, quantity in _VIEWS.items()
        ]
    nothing = text("No run with a tuned rate reached the target.")
    if advice.target is None:
        nothing = text("There is no target, so nothing was compared by when it is met.")
    return Figure(
        "d",
        "level",
        text("To the target, by batch size"),
        panels,
        notes=_level_notes(advice, panels),
        nothing=nothing,
    )


def _level_rows(advice: Advice, to_target: Sequence[ToTarget], quantity: str) -> Iterator[Row]:
    """Yield the points, single runs and bounds of every batch size."""
    laws = advice.laws
    if laws is not None and quantity == "steps_to_target":
        yield from _band_rows(laws.curve, "law")
        sizes = [size for size, _ in laws.curve]
        yield from _place_rows(laws.b_crit, sizes, label_text("critical_batch_size"))
    for each in to_target:
        size, at, per_step = each.batch_size, each.learning_rate, each.per_step(quantity)
        if per_step is None:
            continue
        if (estimate := each.estimate_of(quantity)).estimate is not None:
            yield from interval_mark("point", estimate, batch_size=size, learning_rate=at)
        yield from (mark("run", per_step * n, batch_size=size) for n in each.met)
        yield from (mark("bound", per_step * n, batch_size=size) for n in each.missed)


def _level_notes(advice: Advice, panels: Sequence[Panel]) -> Iterator[str]:
    yield from kind_notes(advice, [row for panel in panels for row in panel.rows])
    if advice.laws is not None and advice.laws.law_holds:
        yield text(
            "Line and band, at steps: a law fitted to the points. It is told under For researchers."
        )


# ---- the machine


def machine_figure(advice: Advice, profile: Profile | None) -> Figure:
    """Time per step and peak memory by batch size, with the limit that the profile was given."""
    limit_bytes = None if profile is None else profile.memory_limit_bytes
    step_s, peak_bytes = _step_time_rows(advice), _memory_rows(advice, limit_bytes)
    return Figure(
        "e",
        "machine",
        text("Time per step and memory by batch size"),
        [
            Panel("e-step_s", label_text("step_s"), "step_s", list(step_s)),
            Panel("e-peak_bytes", label_text("peak_bytes"), "peak_bytes", list(peak_bytes)),
        ],
        notes=_machine_notes(advice, profile),
        nothing=text("No batch size ran, so neither time nor memory is known."),
    )


def _step_time_rows(advice: Advice) -> Iterator[Row]:
    laws = advice.laws
    if laws is not None and laws.step_curve:
        sizes = [size for size, _ in laws.step_curve]
        yield from _band_rows(laws.step_curve, "law")
        yield from _place_rows(laws.knee_batch_size, sizes, text("knee"))
    else:
        yield from _band_rows(((c.batch_size, c.step_s) for c in advice.candidates), "measured")
    for candidate in advice.candidates:
        size, step_s = candidate.batch_size, candidate.step_s.estimate
        yield from interval_mark(
            "point",
            candidate.step_s,
            batch_size=size,
            micro_batch_size=candidate.micro_batch_size,
            samples_per_s=size / step_s if step_s else None,
            fits=text("yes") if candidate.fits else text("no"),
        )


def _memory_rows(advice: Advice, limit_bytes: int | None) -> Iterator[Row]:
    laws = advice.laws
    known = [(c.batch_size, c.peak_bytes) for c in advice.candidates if c.peak_bytes is not None]
    for size, peak in known:
        yield from interval_mark("point", Estimate.of(peak, n=1), batch_size=size)
    if known and limit_bytes is not None:
        words = text("limit {limit}", limit=quantity_text("peak_bytes", limit_bytes))
        yield mark("level", limit_bytes, text=words)
    fixed = None if laws is None else laws.fixed_bytes.estimate
    slope = None if laws is None else laws.bytes_per_example.estimate
    if known and fixed is not None and slope is not None:
        for size, _ in known:
            if fixed + slope * size > 0:
                yield mark("rule", fixed + slope * size, series="law", batch_size=size)


def _machine_notes(advice: Advice, profile: Profile | None) -> Iterator[str]:
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
        yield text(
            "Memory is the peak above an idle process. Dashed: the fitted law, {fixed} and "
            "{slope} for each example of the batch.",
            fixed=estimate_text("peak_bytes", laws.fixed_bytes),
            slope=estimate_text("peak_bytes", laws.bytes_per_example),
        )


# ---- learning rates

_WENT_WRONG = ("diverged", "nan", "oom", "killed", "error")


def learning_rates_figure(advice: Advice) -> Figure:
    """Steps to target by learning rate for every batch size; tuned rates beside the rules'."""
    basin, tuned = tuple(_basin_rows(advice)), tuple(_tuned_rows(advice))
    nothing = text("There is no target, so there are no steps to it.")
    if advice.target:
        nothing = text("No run at any learning rate reached the target.")
    return Figure(
        "f",
        "learning-rates",
        text("Learning rates by batch size"),
        [
            Panel(
                "f-basin",
                text("steps to target by learning rate"),
                "steps_to_target",
                basin if any(row["kind"] == "run" for row in basin) else (),
                axis="learning_rate",
            ),
            Panel("f-tuned", text("tuned learning rate by batch size"), "learning_rate", tuned),
        ],
        notes=_rate_notes(advice, basin, tuned),
        nothing=nothing,
        data="rates",
    )


def _basin_rows(advice: Advice) -> Iterator[Row]:
    by_cell: dict[tuple[int, float], list[float]] = {}
    for tried in advice.tried:
        size, rate, steps = tried.batch_size, tried.learning_rate, tried.steps_to_target
        # A run that missed counts as a long one, or its rate would look better than it is.
        by_cell.setdefault((size, rate), []).append(math.inf if steps is None else steps)
        if steps is not None:
            yield mark("run", steps, batch_size=size, learning_rate=rate)
        elif tried.status in _WENT_WRONG:
            yield {"kind": "lost", "batch_size": size, "learning_rate": rate}
        elif tried.steps and advice.target is not None:
            yield mark("bound", tried.steps, batch_size=size, learning_rate=rate)
    ends: dict[int, Row] = {}
    for (size, rate), found in sorted(by_cell.items()):
        middle = statistics.median(found)
        if math.isfinite(middle):
            own = advice.candidate(size)
            is_chosen = own is not None and own.learning_rate == rate
            ends[size] = mark("line", middle, batch_size=size, learning_rate=rate)
            yield {**ends[size], "chosen": is_chosen}
    for size, end in ends.items():  # colors tell parts: the batch size stands at its line's end
        yield {**end, "kind": "words", "text": str(size)}


def _tuned_rows(advice: Advice) -> Iterator[Row]:
    tuned = [(c, c.learning_rate) for c in advice.candidates if c.learning_rate is not None]
    for candidate, rate in tuned:
        at: dict[str, Value] = {"batch_size": candidate.batch_size, "learning_rate": rate}
        yield from interval_mark("point", Estimate.of(rate, n=candidate.n_runs), **at)
        # Of one batch size alone every rule says the same: their names lie on top of each other.
        for rule, rule_rate in candidate.rule_learning_rates if len(tuned) > 1 else ():
            named = rule if candidate is tuned[-1][0] else None
            yield mark("rule", rule_rate, series=rule, text=named, **at)


def _rate_notes(advice: Advice, basin: Sequence[Row], tuned: Sequence[Row]) -> Iterator[str]:
    yield from kind_notes(advice, basin)
    if any(row["kind"] == "line" for row in basin):
        yield text("Lines join the medians; a run that missed the target counts as a long one.")
    if any(row["kind"] == "rule" for row in tuned):
        yield text(
            "Dashed: what the scaling rules set from the tuned rate of {batch_size}. A rate is "
            "tuned to about a factor of two, so points near a line agree with it.",
            batch_size=reference_text(advice, "batch_size"),
        )
