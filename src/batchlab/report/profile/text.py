"""ProfileText: a profile as plain text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from batchlab.profiling.profile import Profile
from batchlab.profiling.profile_point import ProfilePoint
from batchlab.report.parts.quantity_text import quantity_text, range_text
from batchlab.report.parts.table import Column, Table, Value
from batchlab.report.profile.step_time_text import step_time_text
from batchlab.words.reasons import reason_text

WIDTH = 88
# Beyond what a quiet machine's kernels make of single batch sizes: the law is a rough guide there.
_FAR_OFF_FRACTION = 0.2
# Processes that lie further apart than this deserve a word.
_SCATTERED = 0.04


def profile_text(profile: Profile) -> str:
    """A profile for people: a table, the largest batch that fits, the laws in words.

    Args:
        profile: the profile; batch sizes that did not run are in the table with their status.

    Returns:
        Lines of at most 88 characters where words can be wrapped, ended by a newline.
    """
    head = f"{profile.workload} on {profile.device_name} ({profile.device})"
    table = profile_table(profile).to_text()
    facts = "\n".join(_wrapped(f"- {fact}") for fact in profile_facts(profile))
    return f"{head}\n\n{table}\n\n{facts}\n"


def profile_table(profile: Profile) -> Table:
    """One row a batch size that was tried, also one that did not run."""
    return Table(
        caption=f"{profile.workload} by batch size",
        columns=(
            Column(key="batch", quantity="batch", label="batch size"),
            Column(key="step_s", quantity="step_s", label="step"),
            Column(key="interval", quantity="interval", label="95 %"),
            Column(key="samples_per_s", quantity="samples_per_s"),
            Column(key="peak_bytes", quantity="peak_bytes"),
            Column(key="threads", quantity="threads", label="threads"),
            Column(key="status", quantity="status", label="status"),
        ),
        rows=tuple(_row(profile, point) for point in profile.points),
    )


def _row(profile: Profile, point: ProfilePoint) -> tuple[Value, ...]:
    step_s = profile.timed_s(point)
    known = step_s.low is not None and step_s.high is not None
    return (
        _size_text(point, profile.n_train),
        step_s.estimate,
        range_text("step_s", step_s.low, step_s.high) if known else None,  # type: ignore[arg-type]
        point.samples_per_s,
        point.peak_bytes,
        None if point.timing is None else point.timing.threads,
        point.status.value,
    )


def _size_text(point: ProfilePoint, n_train: int) -> str:
    name = f"{point.batch_size}" + (" (full)" if point.batch_size == n_train else "")
    if point.accumulation_steps == 1:
        return name
    return f"{name} = {point.accumulation_steps} × {point.micro_batch_size}"


def profile_facts(profile: Profile) -> Iterator[str]:
    """What follows from a profile, a sentence or two each: the largest that fits first."""
    yield _largest_text(profile)
    yield _memory_text(profile)
    yield _step_time_text(profile)
    yield from _scatter_text(profile)
    yield _throughput_text(profile)
    for point in profile.points:
        if not point.ran:
            yield f"Batch size {_size_text(point, profile.n_train)}: {reason_text(point.reason)}."
    if profile.stopped == "time":
        yield "The budget ended before all batch sizes were tried."
    if profile.stopped == "errors":
        yield "Larger batch sizes were not tried, for several in a row did not run."


def _largest_text(profile: Profile) -> str:
    largest = profile.largest_batch_size
    limit = profile.memory_limit_bytes
    within = "" if limit is None else f" within {quantity_text('peak_bytes', limit)}"
    if largest is None:
        return f"No batch size ran in one piece{within}."
    if largest == profile.n_train:
        return f"All {largest} training examples fit in one batch{within}."
    if profile.stopped == "memory":
        return f"The largest batch size that fits in one piece{within}: {largest}."
    return f"The largest batch size that was tried and fits{within}: {largest}."


def _memory_text(profile: Profile) -> str:
    law = profile.memory
    fixed, each = law.fixed_bytes, law.bytes_per_example
    if fixed.estimate is None or each.estimate is None:
        return f"Memory by batch size: cannot tell ({reason_text(fixed.reason or each.reason)})."
    return (
        f"Memory: about {quantity_text('peak_bytes', fixed.estimate)} and "
        f"{quantity_text('peak_bytes', each.estimate)} for each example of the batch, above an "
        f"idle process."
    )


def _step_time_text(profile: Profile) -> str:
    law = profile.step_time
    if law is None:
        return (
            "Step time by batch size: cannot tell (fewer than 3 batch sizes ran in one piece; "
            "profile more)."
        )
    told = step_time_text(
        overhead_s=law.overhead_s, s_per_example=law.s_per_example, knee=law.knee_batch_size
    )
    off = law.max_residual_fraction
    away = (
        f" Single batch sizes lie up to {100 * off:.0f} % off that."
        if off > _FAR_OFF_FRACTION
        else ""
    )
    return f"Step time: {told}.{away}"


def _scatter_text(profile: Profile) -> Iterator[str]:
    scatter = profile.process_scatter
    if scatter is not None and scatter.log_sd > _SCATTERED:
        yield (
            f"Timed again in another process, a batch size takes another time (standard deviation "
            f"{100 * scatter.log_sd:.0f} %): the intervals are of the mean over processes, and a "
            f"single batch size tells less than the law through all of them."
        )


def _throughput_text(profile: Profile) -> str:
    plateau, largest = profile.plateau_batch_size, profile.largest_batch_size
    if plateau is None or largest is None:
        return "Throughput: cannot tell, nothing ran."
    point = profile.best_micro_batch(plateau)
    assert point is not None
    speed = quantity_text("samples_per_s", point.samples_per_s)
    if plateau == largest:
        return f"Throughput still grows at the largest batch size that ran: {speed} at {plateau}."
    return (
        f"Throughput stops growing at batch size {plateau}, with {speed}: no larger one that ran "
        f"is more than 10 % faster."
    )


def _wrapped(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ")
