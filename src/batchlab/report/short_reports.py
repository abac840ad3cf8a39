"""Short reports: results of a profile, gradient noise, a law, a check, two compared studies.

Each report has an answer and at most three notes; each report but the check's has a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Literal

from batchlab.laws.mean import known
from batchlab.laws.steps import StepsToTargetFit
from batchlab.measure.finding import Accumulation
from batchlab.measure.noise import Noise, NoisePoint
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import FRACTION_METRICS
from batchlab.records.shown import ShownInNotebook
from batchlab.records.trial import Target
from batchlab.report.table import MOST_NOTES, CellValue, Column, Section, Table, table_of
from batchlab.report.text import (
    bound_text,
    clause,
    estimate_text,
    label_text,
    quantity_text,
    size_text,
    whole_sentence,
)
from batchlab.version import __version__
from batchlab.words.catalogue import capitalized, listing, number_text, sentence, text
from batchlab.words.document import SCHEMA, plain
from batchlab.words.reasons import reason_text

# ---- a profile

# If a step time differs from the law by more than this fraction, a note says the law is rough.
_FAR_OFF_FRACTION = 0.2
_STOPPED = {"time": "the budget ended", "errors": "several in a row did not run"}


def profile_section(profile: Profile) -> Section:
    """Return the report of a profile: the best batch sizes, a table by batch size, and notes."""
    notes = [*_problems(profile), *law_notes(profile)][:MOST_NOTES]
    return Section(title=_profile_title(profile), table=_profile_table(profile), notes=tuple(notes))


def _profile_title(profile: Profile) -> str:
    plateau, largest = profile.plateau_batch_size, profile.largest_batch_size
    limit, within = profile.memory_limit_bytes, ""
    if limit is not None:
        within = text(" within {limit:peak_bytes}", limit=limit)
    if plateau is None or largest is None:
        return sentence("none_in_one_piece", within=within)
    point = profile.best_micro_batch(plateau)
    assert point is not None
    code = "throughput_grows" if plateau == largest else "throughput_stops"
    largest_text = size_text(largest, profile.workload.n_train)
    return sentence(
        code, size=plateau, speed=point.samples_per_s, within=within, largest=largest_text
    )


def _profile_table(profile: Profile) -> Table:
    workload, device = profile.workload.name, profile.device
    if profile.compile_s is not None:
        device += f", model compiled in {quantity_text('step_s', profile.compile_s)}"
    table = table_of(
        f"{workload} by batch size, on {profile.device_name} ({device}), with 95 % intervals",
        profile.points,
        Column("batch", label="batch", of=lambda point: _size_text(profile, point)),
        Column("step_s", label="step", of=profile.timed_s),
        Column("samples_per_s"),
        Column("peak_bytes", label="memory"),
        Column("gpu_peak_bytes", "peak_bytes", "GPU memory"),
        Column("threads", of=lambda point: point.timing and point.timing.threads),
        Column("status", of=lambda point: point.status.value),
    ).without_empty_columns()
    for key in ("threads", "status"):  # leave out these columns if all rows have the same value
        if len({*table.by_key().get(key, ())} - {None}) < 2:
            table = table.without(key)
    return table


def _size_text(profile: Profile, point: ProfilePoint) -> str:
    size = size_text(point.batch_size, profile.workload.n_train)
    if point.accumulation_steps == 1:
        return size
    return f"{size} = {point.accumulation_steps} × {point.micro_batch_size}"


def _problems(profile: Profile) -> Iterator[str]:
    """Yield notes on failed sizes, sizes not tried, and evaluations during timed steps."""
    failed = [point for point in profile.points if not (point.ran or point.is_untimed)]
    if failed:
        size, *others = map(partial(_size_text, profile), failed)
        yield f"Did not run: {', '.join([f'{size} ({clause(failed[0].reason)})', *others])}."
    if profile.stopped in _STOPPED:
        yield sentence("not_all_tried", why=_STOPPED[profile.stopped])
    if profile.evaluations_in_steps is not None:
        yield whole_sentence(profile.evaluations_in_steps)


def law_notes(profile: Profile) -> Iterator[str]:
    """Yield sentences on the fits of step time and memory, or on why there is no fit."""
    yield _step_time_note(profile)
    yield _memory_note(profile)


def _step_time_note(profile: Profile) -> str:
    law = profile.step_time
    if law is None:
        too_few = clause(Reason.of("timed_at_fewer_than_three"))
        return sentence("law_unknown", what="Step time", why=too_few)
    knee = law.knee_batch_size
    if (knee.estimate, knee.low, knee.high) == (None, None, None):
        note = sentence("law_unknown", what="Step time", why=clause(knee.reason))
    else:
        note = sentence(
            "step_time_law",
            overhead=_seconds(law.overhead_s),
            each=_seconds(law.s_per_example),
            knee=estimate_text("critical_batch_size", knee),
        )
    if law.max_residual_fraction > _FAR_OFF_FRACTION:
        note += f" {sentence('sizes_off_law', off=law.max_residual_fraction)}"
    return note


def _seconds(time: Estimate) -> str:
    return bound_text("step_s", time) or quantity_text("step_s", time.estimate)


def _memory_note(profile: Profile) -> str:
    fixed, slope = profile.memory.fixed_bytes, profile.memory.bytes_per_example
    if fixed.estimate is None or slope.estimate is None:
        reason = clause(fixed.reason or slope.reason)
        return sentence("law_unknown", what="Memory", why=reason)
    note = sentence("memory_law", fixed=fixed.estimate, each=slope.estimate)
    peaks = known(point.peak_bytes for point in profile.points)
    if (profile.evaluation_bytes or 0) > min(peaks, default=0):
        note += f" {sentence('evaluation_memory', evaluation=profile.evaluation_bytes)}"
    return note


# ---- gradient noise along a training


def noise_section(noise: Noise) -> Section:
    """Report what gradient noise means for the batch size, with a table by step and notes."""
    notes = tuple(_noise_notes(noise))[:MOST_NOTES]
    return Section(title=_noise_title(noise), table=_noise_table(noise), notes=notes)


def _noise_table(noise: Noise) -> Table:
    def epochs(point: NoisePoint) -> float:
        return point.samples / noise.workload.n_train

    workload = noise.workload
    rate = number_text(workload.learning_rate, "rate")
    return table_of(
        f"Gradient noise of {workload.name}, trained with batch size {workload.batch_size} "
        f"at learning rate {rate}, with 95 % intervals",
        noise.along,
        Column("step"),
        Column("epoch", "epochs_to_target", "epochs", of=epochs, is_minor=True),
        Column("gradient_noise_scale", "critical_batch_size", "noise scale"),
        Column(
            "grad_sq",
            "ratio",
            "|G|²",
            of=attrgetter("gradient_norm_squared.estimate"),
            is_minor=True,
        ),
        Column("trace", "ratio", "tr Σ", of=attrgetter("noise_trace.estimate"), is_minor=True),
        Column("n_examples", "step", text("examples"), is_minor=True),
    ).without_empty_columns()


def _noise_notes(noise: Noise) -> Iterator[str]:
    if noise.stopped is not None:
        yield f"Not measured to the end: {reason_text(noise.stopped)}."
    lost = list(filter(None, map(attrgetter("gradient_noise_scale.reason"), noise.along)))
    if lost:
        yield sentence("noise_lost", reason=reason_text(lost[0]))
    yield sentence("noise_is_not_critical")


def _noise_title(noise: Noise) -> str:
    scale, step, size = noise.gradient_noise_scale, noise.along[-1].step, noise.workload.batch_size
    if scale.estimate is None:
        bound = "unknown"
        if scale.low is not None:
            bound = text("above {low:critical_batch_size} examples", low=scale.low)
        return sentence("noise_bound", step=step, bound=bound)
    # Examples are drawn without replacement. Correct for this, so that the full batch has no noise.
    n_train = noise.workload.n_train
    ratio = scale.estimate / size * (n_train - size) / max(1, n_train - 1)
    share = ratio / (1 + ratio)
    return sentence("noise_of_batch", step=step, scale=scale.estimate, size=size, share=share)


# ---- a fitted law of steps to target

# The quantity (for unit and format) and the label of each parameter of the law.
_PARAMETERS = {
    "b_crit": ("critical_batch_size", "critical batch size B_crit"),
    "s_min": ("steps_to_target", "S_min, steps with large batches"),
    "e_min": ("samples_to_target", "E_min, samples with small batches"),
    "exponent": ("ratio", "exponent that the points ask for (the law has 1)"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FitDocument:
    """The document that `batchlab fit --json` prints."""

    schema: int = SCHEMA
    command: str = "fit"
    batchlab: str = __version__
    source: str
    law: StepsToTargetFit


def fit_section(law: StepsToTargetFit) -> Section:
    """Report whether the law fits the points, with its parameters and a table by batch size."""
    facts: list[str] = []
    for name, (quantity, label) in _PARAMETERS.items():
        parameter: Estimate = getattr(law, name)
        fact = f"{label}: {estimate_text(quantity, parameter)}"
        if parameter.reason is not None and law.law_holds:
            fact += f" ({clause(parameter.reason)})"
        facts.append(fact)
    if not law.law_holds:
        title = capitalized(clause(law.e_min.reason)) + "."
    elif law.exponent.estimate is None:
        title = sentence("law_points_too_few")
    else:
        title = sentence("law_not_refuted")
    table = table_of(
        "Steps to the target by batch size, with 95 % intervals",
        law.by_batch_size,
        Column("batch_size"),
        Column("measured", "steps_to_target", "measured"),
        Column("expected", "steps_to_target", "on the curve"),
    )
    return Section(title=title, facts=tuple(facts), table=table)


# ---- a check of accumulation


def check_section(check: Accumulation) -> Section:
    """Report whether gradient accumulation changes the gradient, and each cause with its remedy."""
    title = sentence("another_gradient", workload=check.workload)
    if check.equal:
        average = " on average" if check.findings else ""
        title = sentence("same_gradient", workload=check.workload, average=average)
    precision = "float64" if check.in_double else "the model's own precision"
    compared = "Compared on {n} training examples, in {precision}."
    notes = [text(compared, n=check.n_examples, precision=precision)]
    facts: list[str] = []
    for finding in check.findings:
        size = ""
        if finding.size is not None:
            size = f" ({number_text(finding.size, 'percent')} of the gradient)"
        facts.append(f"{finding.where}{size}: {finding.text}")
    return Section(title=title, facts=tuple(facts), notes=tuple(notes))


# ---- a comparison of two studies


@dataclass(frozen=True, kw_only=True, slots=True)
class DifferingSetting:
    """A value of workload, target, machine or versions that differs between two studies."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedFigure:
    """A quantity of two studies, A and B, at a batch size that both studies have.

    `change` is B / A if `is_ratio`, else B - A. In 95 of 100 comparisons of two studies, the
    intervals of all changes contain the true changes. `learning_rates` has the rates of A and B;
    both are null if the learning rate does not affect the quantity.
    """

    quantity: str
    batch_size: int
    learning_rates: tuple[float | None, float | None]
    a: Estimate
    b: Estimate
    change: Estimate
    is_ratio: bool

    document = (
        *("quantity", "batch_size", "learning_rates", "a", "b", "change", "is_ratio"),
        "verdict",
    )

    @property
    def verdict(self) -> Literal["differs", "within_noise", "cannot_tell"]:
        """Whether the two studies differ in this quantity by more than noise."""
        if self.change.low is None or self.change.is_too_wide:
            return "cannot_tell"
        return "within_noise" if self.change.holds(float(self.is_ratio)) else "differs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison(ShownInNotebook):
    """A comparison of two studies, A and B, and which quantities differ by more than noise.

    Attributes:
        a: a text that describes the first study.
        b: a text that describes the second study.
        settings: the values of workload, target, machine and versions that differ.
        target: the target that steps and times refer to; None if the studies do not share a target.
        figures: the compared step times, steps and times to the target, and final metrics.
    """

    schema: int = SCHEMA
    command: str = "compare"
    batchlab: str = __version__
    a: str
    b: str
    settings: tuple[DifferingSetting, ...]
    target: Target | None
    figures: tuple[ComparedFigure, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what `batchlab compare --json` prints, described by docs/schema/compare.json."""
        document: dict[str, Any] = plain(self)
        return document


def comparison_section(comparison: Comparison) -> Section:
    """Report the differences of two studies, first in a sentence and then as a table."""
    return Section(
        title=_comparison_title(comparison),
        facts=tuple(_facts(comparison)),
        table=_comparison_table(comparison),
    )


_BEYOND_NOISE = {"differs": "yes", "within_noise": "no", "cannot_tell": "can't tell"}


def _comparison_title(comparison: Comparison) -> str:
    figures = comparison.figures
    differing = [label_text(figure.quantity) for figure in figures if figure.verdict == "differs"]
    if differing:
        return f"B differs in: {', '.join(dict.fromkeys(differing))}."
    if not figures:
        return sentence("nothing_in_common")
    told = {figure.quantity for figure in figures if figure.verdict != "cannot_tell"}
    if not told:
        return sentence("comparing_takes_two")
    unknown = dict.fromkeys(f.quantity for f in figures if f.quantity not in told)
    too_few = f" Too few runs to judge: {listing([*map(label_text, unknown)])}." if unknown else ""
    return sentence("nothing_differs") + too_few


def _form(figure: ComparedFigure) -> str:
    if figure.is_ratio:
        return "ratio"
    if figure.quantity in FRACTION_METRICS:
        values = (figure.a.estimate, figure.b.estimate)
        if all(value is not None and abs(value) <= 1 for value in values):
            return "gap_points"
    return figure.quantity


def _facts(comparison: Comparison) -> Iterator[str]:
    names = {setting.name for setting in comparison.settings}
    if "workload id" in names:
        yield sentence("another_workload")
    elif not names:
        yield sentence("all_the_same")
        if any(row.quantity == "step_s" and row.verdict == "differs" for row in comparison.figures):
            yield sentence("machine_was_slower")
    if comparison.target is not None:
        metric = comparison.target.metric
        value = quantity_text(metric, comparison.target.value)
        yield f"Target of steps and time: {metric} {value}."


def _comparison_table(comparison: Comparison) -> Table:
    rows: list[tuple[CellValue, ...]] = []
    for setting in comparison.settings:
        rows.append((setting.name, "", setting.a, setting.b, "", ""))
    for row in comparison.figures:
        a, b = (quantity_text(row.quantity, side.estimate) for side in (row.a, row.b))
        change = quantity_text(_form(row), row.change.estimate)
        if row.verdict != "cannot_tell":
            change = estimate_text(_form(row), row.change)
        name, beyond = label_text(row.quantity), _BEYOND_NOISE[row.verdict]
        rows.append((name, _compared_at(row), a, b, change, beyond))
    caption = sentence("both_sides", a=comparison.a, b=comparison.b)
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
    rates = [number_text(rate, "rate") for rate in known(row.learning_rates)]
    if not rates:
        return str(row.batch_size)
    return f"{row.batch_size} at {' / '.join(dict.fromkeys(rates))}"
