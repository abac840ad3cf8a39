"""Short reports: what a profile, a fitted law, a check and a comparison of two studies have shown.

Each has an answer, perhaps a table, and at most three notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Literal

import msgspec

from batchlab.laws.steps import StepsToTargetFit
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import FRACTION_METRICS
from batchlab.records.shown import ShownInNotebook
from batchlab.records.study import Accumulation, Finding
from batchlab.records.trial import Target
from batchlab.report.table import Column, Section, Table, Value, table_of
from batchlab.report.text import (
    bound_text,
    clause,
    estimate_text,
    interval_only_text,
    label_text,
    quantity_text,
    range_text,
    whole_sentence,
)
from batchlab.version import __version__
from batchlab.words.catalogue import capitalized, listing, number_text, plural, text
from batchlab.words.document import SCHEMA, document_text, plain
from batchlab.words.reasons import CAUSES

_MOST_NOTES = 3


# ---- a profile

# On a quiet machine the kernels put sizes less far off. Beyond this the law is a rough guide.
_FAR_OFF_FRACTION = 0.2


def profile_section(profile: Profile) -> Section:
    """Return the best batch sizes, one row per batch size, and at most three notes."""
    notes = [*_problems(profile), _step_time_note(profile), _memory_note(profile)][:_MOST_NOTES]
    return Section(title=_profile_title(profile), table=_profile_table(profile), notes=tuple(notes))


def _profile_title(profile: Profile) -> str:
    plateau, largest = profile.plateau_batch_size, profile.largest_batch_size
    limit = profile.memory_limit_bytes
    within = "" if limit is None else text(" within {limit:peak_bytes}", limit=limit)
    if plateau is None or largest is None:
        return text("No batch size ran in one piece{within}.", within=within)
    point = profile.best_micro_batch(plateau)
    assert point is not None
    throughput = (
        "Throughput stops growing at batch size {size}, at {speed:samples_per_s}: no larger one "
        "that ran is more than 10 % faster."
    )
    if plateau == largest:
        throughput = (
            "Throughput is highest at the largest batch size that ran in one piece, {size}, and "
            "may grow beyond it: {speed:samples_per_s}."
        )
    fits = "The largest batch size that was tried and fits{within}: {largest}."
    if profile.stopped == "memory":
        fits = "The largest batch size that fits in one piece{within}: {largest}."
    largest_text = _number_text(profile, largest)
    throughput = text(throughput, size=plateau, speed=point.samples_per_s)
    return f"{throughput} {text(fits, within=within, largest=largest_text)}"


def _profile_table(profile: Profile) -> Table:
    """Return one row per batch size that was tried, including those that did not run."""
    ended = {point.status for point in profile.points}
    threads = {point.timing.threads for point in profile.points if point.timing is not None}
    table = table_of(
        text(
            "{workload} by batch size, on {device_name} ({device}), with 95 % intervals",
            workload=profile.workload.name,
            device_name=profile.device_name,
            device=profile.device,
        ),
        profile.points,
        Column("batch", label=text("batch"), of=lambda point: _size_text(profile, point)),
        Column("step_s", label=text("step"), of=profile.timed_s),
        Column("samples_per_s"),
        Column("peak_bytes", label=text("memory")),
        Column("gpu_peak_bytes", "peak_bytes", text("GPU memory")),
        Column("threads", label=text("threads"), of=lambda p: p.timing and p.timing.threads),
        Column("status", None, text("status"), True, lambda point: point.status.value),
    ).without_empty_columns()
    same = {"threads": len(threads) < 2, "status": len(ended) < 2}
    return table.only([c.key for c in table.columns if not same.get(c.key, False)])


def _size_text(profile: Profile, point: ProfilePoint) -> str:
    name = _number_text(profile, point.batch_size)
    if point.accumulation_steps == 1:
        return name
    micro, n = point.micro_batch_size, point.accumulation_steps
    return text("{name} = {n_steps} × {micro}", name=name, n_steps=n, micro=micro)


def _number_text(profile: Profile, size: int) -> str:
    is_full = size == profile.workload.n_train
    return text("{n} (full)", n=size) if is_full else number_text(size, "")


def _problems(profile: Profile) -> Iterator[str]:
    """Yield what did not run and why, and what the times include in addition to the steps."""
    failed = [point for point in profile.points if not point.ran]
    if failed:
        size, reason = _size_text(profile, failed[0]), clause(failed[0].reason)
        others = ", ".join(_size_text(profile, point) for point in failed[1:])
        also = text(" Nor did {others}.", others=others) if others else ""
        message = "Batch size {size} did not run: {reason}.{also}"
        yield text(message, size=size, reason=reason, also=also)
    if profile.stopped == "time":
        yield text("The budget ended before all batch sizes were tried.")
    if profile.stopped == "errors":
        yield text("Larger batch sizes were not tried, because several in a row did not run.")
    if profile.evaluations_in_steps is not None:
        yield whole_sentence(profile.evaluations_in_steps)


def _step_time_note(profile: Profile) -> str:
    law = profile.step_time
    if law is None:
        return text(
            "Step time by batch size: cannot tell (fewer than 3 batch sizes ran in one piece; "
            "profile more)."
        )
    said = step_time_text(
        overhead_s=law.overhead_s, s_per_example=law.s_per_example, knee=law.knee_batch_size
    )
    off = law.max_residual_fraction
    if off <= _FAR_OFF_FRACTION:
        return text("Step time: {law}.", law=said)
    message = "Step time: {law}. Single batch sizes are up to {off:whole_percent} off that."
    return text(message, law=said, off=off)


def step_time_text(*, overhead_s: Estimate, s_per_example: Estimate, knee: Estimate) -> str:
    """Say how long a step takes without examples and per example, and where the two are equal.

    `knee` is the batch size at which they are equal, a bound on it, or neither if it is unknown.
    The sentence has no full stop.
    """
    if (knee.estimate, knee.low, knee.high) == (None, None, None):
        return text("cannot tell ({reason})", reason=clause(knee.reason))
    overhead, each = (_value_or_bound("step_s", known) for known in (overhead_s, s_per_example))
    return text(
        "{overhead} however small the batch, and {each} for each example of a large one. The two "
        "are equal at a batch size of {knee}. Far above that, larger batches train no more "
        "examples a second",
        overhead=overhead,
        each=each,
        knee=estimate_text("critical_batch_size", knee),
    )


def _value_or_bound(name: str, known: Estimate) -> str:
    return bound_text(name, known) or quantity_text(name, known.estimate)


def _memory_note(profile: Profile) -> str:
    fixed, each = profile.memory.fixed_bytes, profile.memory.bytes_per_example
    if fixed.estimate is None or each.estimate is None:
        reason = clause(fixed.reason or each.reason)
        return text("Memory by batch size: cannot tell ({reason}).", reason=reason)
    said = text(
        "Memory: about {fixed:peak_bytes}, and {each:peak_bytes} more for each example of the "
        "batch (above an idle process).",
        fixed=fixed.estimate,
        each=each.estimate,
    )
    least = min((p.peak_bytes for p in profile.points if p.peak_bytes is not None), default=0)
    if (profile.evaluation_bytes or 0) <= least:
        return said
    message = "{said} An evaluation takes {evaluation:peak_bytes}, at any batch size."
    return text(message, said=said, evaluation=profile.evaluation_bytes)


# ---- a fitted law of steps to target

# The quantity and the label of each parameter.
_PARAMETERS = {
    "b_crit": ("critical_batch_size", "critical batch size B_crit"),
    "s_min": ("steps_to_target", "S_min, steps with large batches"),
    "e_min": ("samples_to_target", "E_min, samples with small batches"),
    "exponent": ("ratio", "exponent that the points ask for (the law has 1)"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FitDocument:
    """What `batchlab fit --json` prints."""

    schema: int = SCHEMA
    command: str = "fit"
    batchlab: str = __version__
    source: str
    law: StepsToTargetFit


def fit_section(law: StepsToTargetFit) -> Section:
    """Return whether a law holds, its parameters, and the steps at each batch size."""
    if not law.law_holds:
        title = (
            "The law does not hold: its exponent is not 1. B_crit and S_min are those of the best "
            "curve of any exponent; use the measured steps."
        )
    elif law.exponent.estimate is None:
        title = "The points are too few to say whether the law holds."
    else:
        title = "The law is not refuted: its exponent of 1 lies within the interval."
    facts, reasons = [], []
    for name, (quantity, label) in _PARAMETERS.items():
        value = getattr(law, name)
        facts.append(f"{text(label)}: {estimate_text(quantity, value)}")
        if value.reason is not None:
            reasons.append(whole_sentence(value.reason))
    method = text(
        "Fitted by maximum likelihood of log steps; 95 % intervals by profile likelihood, with the "
        "scatter of the seeds pooled over batch sizes."
    )
    table = table_of(
        text("Steps to the target by batch size, with 95 % intervals"),
        law.by_batch_size,
        Column("batch_size"),
        Column("measured", "steps_to_target", text("measured")),
        Column("expected", "steps_to_target", text("on the curve")),
    )
    notes = (*list(dict.fromkeys(reasons))[: _MOST_NOTES - 1], method)
    return Section(title=text(title), facts=tuple(facts), table=table, notes=notes)


# ---- a check of accumulation


class FindingDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A cause why the gradients differ; `size` is how far, over the batch's gradient."""

    cause: str
    where: str
    size: float | None
    by_chance: bool
    text: str


class CheckDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the gradient of a batch is that of its micro-batches put together.

    `rounding` is how far they are apart in the workload's own precision, over the gradient.
    """

    schema: int
    command: str
    batchlab: str
    workload: str
    equal: bool
    findings: tuple[FindingDocument, ...]
    n_examples: int
    in_double: bool
    rounding: float | None


def check_json(check: Accumulation) -> str:
    """Return the document as JSON text."""
    findings = tuple(
        FindingDocument(**asdict(finding), text=text(CAUSES[finding.cause]))
        for finding in check.findings
    )
    fields = asdict(check) | {"findings": findings, "equal": check.equal}
    document = CheckDocument(schema=SCHEMA, command="check", batchlab=__version__, **fields)
    return document_text(document)


def check_section(check: Accumulation) -> Section:
    """Return the answer, then each cause with its place and what to do."""
    answer = "{workload}: a batch and its micro-batches have the same gradient."
    if check.findings and check.equal:
        answer = "{workload}: a batch and its micro-batches have the same gradient on average."
    if not check.equal:
        answer = "{workload}: a batch and its micro-batches do NOT have the same gradient."
    compared = "Compared in float64, on {n} training examples."
    if not check.in_double:
        compared = (
            "Compared on {n} training examples in the model's own precision, because it takes no "
            "float64."
        )
    notes = [text(compared, n=check.n_examples)]
    if check.rounding is not None:
        message = (
            "In the workload's own precision they differ by {rounding:.1g} of the gradient. That "
            "is rounding."
        )
        notes.append(text(message, rounding=check.rounding))
    title, facts = text(answer, workload=check.workload), map(_finding_text, check.findings)
    return Section(title=title, facts=tuple(facts), notes=tuple(notes))


def _finding_text(finding: Finding) -> str:
    size = ""
    if finding.size is not None:
        size = text(" ({size:percent} of the gradient)", size=finding.size)
    return text(
        "{where}{size}: {cause}", where=finding.where, size=size, cause=text(CAUSES[finding.cause])
    )


# ---- a comparison of two studies

ENDED_BADLY, MISSED_TARGET = "runs that ended badly", "runs that missed the target"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """Something of workload, target, machine or versions that is not the same in both."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedFigure:
    """A quantity at a batch size that both have; `batch_size` null: its mean over all of them.

    `change` is B over A where `is_ratio`, else B less A. In 95 of 100 comparisons the intervals of
    all changes hold at once. Rates and epochs are A's and B's; null: the quantity has none.
    """

    quantity: str
    batch_size: int | None
    learning_rates: tuple[float | None, float | None] = (None, None)
    epochs: tuple[float | None, float | None] = (None, None)
    a: Estimate | None = None
    b: Estimate | None = None
    change: Estimate
    is_ratio: bool

    document = (
        *("quantity", "batch_size", "learning_rates", "epochs", "a", "b", "change", "is_ratio"),
        "verdict",
    )

    @property
    def verdict(self) -> Literal["differs", "within_noise", "cannot_tell"]:
        """Whether the two sides differ beyond noise."""
        if self.change.low is None or self.change.is_too_wide:
            return "cannot_tell"
        return "within_noise" if self.change.holds(float(self.is_ratio)) else "differs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(ShownInNotebook):
    """Two studies side by side, and what differs beyond noise.

    Attributes:
        a: the first study, in words.
        b: the second.
        n_shared: runs and timings that are in both, because one store does no work twice.
        settings: the parts of workload, target, machine and versions that differ.
        target: the level that steps and times refer to, or None if the two share none.
        figures: step time, steps and time to the target, the metric at the end and memory.
    """

    schema: int = SCHEMA
    command: str = "compare"
    batchlab: str = __version__
    a: str
    b: str
    n_shared: int
    settings: tuple[Setting, ...]
    target: Target | None
    figures: tuple[ComparedFigure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what `batchlab compare --json` prints, described by docs/schema/compare.json."""
        made: dict[str, Any] = plain(self)
        return made


def comparison_section(comparison: Comparison) -> Section:
    """Return what differs, first in a sentence and then as a table."""
    title, facts = _comparison_title(comparison), tuple(_facts(comparison))
    return Section(title=title, facts=facts, table=_comparison_table(comparison))


_SENTENCES = {
    "step_s": "B's steps take {change} times as long{where}",
    "steps_to_target": "B takes {change} times as many steps to the target{where}",
    "time_to_target_s": "B takes {change} times as long to the target{where}",
    "peak_bytes": "B takes {change} times as much memory{where}",
}
_OF_METRIC = "B's {quantity} at the end differs by {change}{where}"
_BEYOND_NOISE = {"differs": "yes", "within_noise": "no", "cannot_tell": "can't tell"}


def _comparison_title(comparison: Comparison) -> str:
    differing = [figure for figure in comparison.figures if figure.verdict == "differs"]
    by_quantity = [[*rows] for _, rows in groupby(differing, lambda figure: figure.quantity)]
    if by_quantity:
        return f"{capitalized(listing([_difference_text(rows) for rows in by_quantity]))}."
    quantities = dict.fromkeys(figure.quantity for figure in comparison.figures)
    judged = {row.quantity for row in comparison.figures if row.verdict != "cannot_tell"}
    open_ = [label_text(quantity) for quantity in quantities if quantity not in judged]
    if judged and open_:
        message = "Nothing differs beyond noise. Too few runs to tell: {what}."
        return text(message, what=listing(open_))
    if judged:
        return text("Nothing that was measured differs beyond noise.")
    if open_:
        return text("Nothing can be told from noise: that takes two runs or more of each.")
    return text("Nothing was measured of the same batch size in both A and B.")


def _difference_text(rows: list[ComparedFigure]) -> str:
    """Say how a quantity differs: by its mean change if that fits every batch size that differs."""
    last, sizes = rows[-1], [row for row in rows if row.batch_size is not None]
    value, form = last.change.estimate or 0.0, _form(last)
    if last.batch_size is None and all(row.change.holds(value) for row in sizes):
        change, interval = quantity_text(form, value), interval_only_text(form, last.change)
        where = text(" ({interval}) over all batch sizes", interval=interval)
    else:
        changes = [row.change.estimate or 0.0 for row in sizes]
        change = range_text(form, min(changes), max(changes))
        named = listing([str(row.batch_size) for row in sizes])
        where = plural(" at batch size {of}", " at batch sizes {of}", len(sizes), of=named)
    message = _SENTENCES.get(last.quantity, _OF_METRIC)
    return text(message, quantity=label_text(last.quantity), change=change, where=where)


def _form(figure: ComparedFigure) -> str:
    if figure.is_ratio:
        return "ratio"
    values = [known.estimate for known in (figure.a, figure.b) if known is not None]
    is_share = all(value is not None and abs(value) <= 1 for value in values)
    return "gap_points" if figure.quantity in FRACTION_METRICS and is_share else figure.quantity


def _facts(comparison: Comparison) -> Iterator[str]:
    names = {setting.name for setting in comparison.settings} - {ENDED_BADLY, MISSED_TARGET}
    if "workload id" in names:
        yield text("They are not the same workload: code, data or settings differ.")
    elif not names:
        yield text("Workload, machine and versions are the same.")
        if ("step_s", "differs") in ((row.quantity, row.verdict) for row in comparison.figures):
            yield text("So the machine was slower during one of them: profile both again, in turn.")
    if comparison.target is not None:
        metric, value = comparison.target.metric, comparison.target.value
        shown = quantity_text(metric, value)
        yield text("Steps and time are to {metric} {value}.", metric=metric, value=shown)
    if comparison.n_shared:
        message = "{n} runs and timings are in both, as one store does no work twice."
        yield text(message, n=comparison.n_shared)


def _comparison_table(comparison: Comparison) -> Table:
    """Return one row per setting that differs, then one per figure of each batch size."""
    rows: list[tuple[Value, ...]] = [(s.name, "", s.a, s.b, "", "") for s in comparison.settings]
    for row in comparison.figures:
        a, b = (known and quantity_text(row.quantity, known.estimate) for known in (row.a, row.b))
        change = quantity_text(_form(row), row.change.estimate)
        if row.verdict != "cannot_tell":
            change += f" ({interval_only_text(_form(row), row.change)})"
        beyond = text(_BEYOND_NOISE[row.verdict])
        rows.append((label_text(row.quantity), _compared_at(row), a or "", b or "", change, beyond))
    caption = text(
        "A is {a}, B is {b}. In 95 of 100 comparisons all intervals hold at once.",
        a=comparison.a,
        b=comparison.b,
    )
    columns = (
        Column("what"),
        Column("batch size"),
        Column("A", is_minor=True),
        Column("B", is_minor=True),
        Column("B to A"),
        Column("beyond noise"),
    )
    return Table(caption=caption, columns=columns, rows=tuple(rows))


def _compared_at(row: ComparedFigure) -> str:
    """Return the batch size with its rate and epochs, of both sides if they differ."""
    parts = [text("all") if row.batch_size is None else number_text(row.batch_size, "")]
    if rates := _of_both(row.learning_rates, "rate"):
        parts.append(text("at {rates}", rates=rates))
    if epochs := _of_both(row.epochs, ".3g"):
        message = "for {epochs} epoch" if epochs == "1" else "for {epochs} epochs"
        parts.append(text(message, epochs=epochs))
    return " ".join(parts)


def _of_both(values: tuple[float | None, float | None], form: str) -> str:
    shown = [number_text(value, form) for value in values if value is not None]
    return " / ".join(dict.fromkeys(shown))
