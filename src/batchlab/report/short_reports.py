"""Short reports: what a profile, a fitted law and a check of accumulation have shown.

Each has an answer, perhaps a table, and at most three notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import msgspec

from batchlab.laws.steps import StepsToTargetFit
from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Estimate
from batchlab.records.study import Accumulation, Finding
from batchlab.report.table import Column, Section, Table, table_of
from batchlab.report.text import bound_text, clause, estimate_text, quantity_text, whole_sentence
from batchlab.version import __version__
from batchlab.words.catalogue import number_text, text
from batchlab.words.document import SCHEMA, document_text
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
