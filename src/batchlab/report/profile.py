"""A profile in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.measure.profile import Profile, ProfilePoint
from batchlab.records.estimate import Estimate
from batchlab.report.table import Column, Section, Table, table_of
from batchlab.report.text import bound_text, estimate_text, whole_sentence
from batchlab.words.catalogue import number_text, text
from batchlab.words.reasons import reason_text

# On a quiet machine the kernels put sizes less far off. Beyond this the law is a rough guide.
_FAR_OFF_FRACTION = 0.2


_MOST_NOTES = 3


def profile_section(profile: Profile) -> Section:
    """Return what to know first, one row per batch size, and at most three notes."""
    answer = (_throughput_text(profile), _largest_text(profile))
    notes = [*_problems(profile), *_laws(profile)][:_MOST_NOTES]
    return Section(title=" ".join(answer), table=_table(profile), notes=tuple(notes))


def _table(profile: Profile) -> Table:
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
    name = number_text(point.batch_size, "")
    if point.batch_size == profile.workload.n_train:
        name = text("{n} (full)", n=point.batch_size)
    if point.accumulation_steps == 1:
        return name
    micro, n = point.micro_batch_size, point.accumulation_steps
    return text("{name} = {n_steps} × {micro}", name=name, n_steps=n, micro=micro)


def _problems(profile: Profile) -> Iterator[str]:
    """Yield what did not run and why, and what the times include in addition to the steps."""
    failed = [point for point in profile.points if not point.ran]
    if failed:
        size, reason = _size_text(profile, failed[0]), reason_text(failed[0].reason).rstrip(".")
        others = ", ".join(_size_text(profile, point) for point in failed[1:])
        also = text(" Nor did {others}.", others=others) if others else ""
        yield text(
            "Batch size {size} did not run: {reason}.{also}", size=size, reason=reason, also=also
        )
    if profile.stopped == "time":
        yield text("The budget ended before all batch sizes were tried.")
    if profile.stopped == "errors":
        yield text("Larger batch sizes were not tried, because several in a row did not run.")
    if profile.evaluations_in_steps is not None:
        yield whole_sentence(profile.evaluations_in_steps)


def _laws(profile: Profile) -> Iterator[str]:
    yield _law_text(profile)
    yield " ".join(_memory_text(profile))


def _largest_text(profile: Profile) -> str:
    largest, limit_bytes = profile.largest_batch_size, profile.memory_limit_bytes
    if largest is None:
        message = "No batch size ran in one piece{within}."
    elif largest == profile.workload.n_train:
        message = "All {largest} training examples fit in one batch{within}."
    elif profile.stopped == "memory":
        message = "The largest batch size that fits in one piece{within}: {largest}."
    else:
        message = "The largest batch size that was tried and fits{within}: {largest}."
    within = "" if limit_bytes is None else text(" within {limit:peak_bytes}", limit=limit_bytes)
    return text(message, largest=largest, within=within)


def _memory_text(profile: Profile) -> Iterator[str]:
    """Yield the law of memory, and what it predicts for sizes that have not run in one piece."""
    fixed, each = profile.memory.fixed_bytes, profile.memory.bytes_per_example
    if fixed.estimate is None or each.estimate is None:
        reason = reason_text(fixed.reason or each.reason)
        yield text("Memory by batch size: cannot tell ({reason}).", reason=reason)
    else:
        yield text(
            "Memory: about {fixed:peak_bytes}, and {each:peak_bytes} more for each example of the "
            "batch (above an idle process).",
            fixed=fixed.estimate,
            each=each.estimate,
        )
    told = [
        text("{predicted} at {size}", predicted=estimate_text("peak_bytes", known), size=size)
        for size, known in ((each.batch_size, each.predicted_bytes) for each in profile.not_run)
        if known.estimate is not None
    ]
    least = min((p.peak_bytes for p in profile.points if p.peak_bytes is not None), default=0)
    if (profile.evaluation_bytes or 0) > least:
        message = "An evaluation takes {evaluation:peak_bytes}, at any batch size."
        yield text(message, evaluation=profile.evaluation_bytes)
    if told:
        yield text(
            "By that law, untested there, the batch sizes that have not run in one piece would "
            "take {told}.",
            told=", ".join(told),
        )


def _law_text(profile: Profile) -> str:
    law = profile.step_time
    if law is None:
        return text(
            "Step time by batch size: cannot tell (fewer than 3 batch sizes ran in one piece; "
            "profile more)."
        )
    told = step_time_text(
        overhead_s=law.overhead_s, s_per_example=law.s_per_example, knee=law.knee_batch_size
    )
    off = law.max_residual_fraction
    if off <= _FAR_OFF_FRACTION:
        return text("Step time: {law}.", law=told)
    message = "Step time: {law}. Single batch sizes are up to {off:.0f} % off that."
    return text(message, law=told, off=100 * off)


def step_time_text(*, overhead_s: Estimate, s_per_example: Estimate, knee: Estimate) -> str:
    """Say how long a step takes at any batch size and per example, and where the two are equal.

    `knee` is the batch size at which they are equal, a bound on it, or neither if it is unknown.
    The sentence has no full stop.
    """
    least, each = overhead_s.estimate, s_per_example.estimate
    bound = bound_text("critical_batch_size", knee)
    if knee.estimate is not None:
        message = (
            "about {least:step_s} for the smallest batch, and {each:step_s} for each example of a "
            "large one. The two are equal at a batch size of about {knee}. Far above that, larger "
            "batches train no more examples a second"
        )
    elif bound and knee.low is not None and least is not None:
        message = (
            "about {least:step_s} at every batch size that ran. The time of the examples begins "
            "to show at a batch size of {bound}"
        )
    elif bound and each is not None:
        message = (
            "about {each:step_s} for each example, from the smallest batch size on. A step "
            "without examples takes as long as a batch size of {bound}"
        )
    else:
        message = "cannot tell ({reason})"
    equal_at, why = estimate_text("critical_batch_size", knee), reason_text(knee.reason)
    return text(message, least=least, each=each, knee=equal_at, bound=bound, reason=why)


def _throughput_text(profile: Profile) -> str:
    plateau, largest = profile.plateau_batch_size, profile.largest_batch_size
    if plateau is None or largest is None:
        return text("Throughput: cannot tell, nothing ran.")
    point = profile.best_micro_batch(plateau)
    assert point is not None
    message = (
        "Throughput is highest at the largest batch size that ran in one piece, {batch_size}, and "
        "may grow beyond it: {speed:samples_per_s}."
        if plateau == largest
        else "Throughput stops growing at batch size {batch_size}, at {speed:samples_per_s}: no "
        "larger one that ran is more than 10 % faster."
    )
    return text(message, speed=point.samples_per_s, batch_size=plateau)
