"""FitText: the fits of a points file as plain text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from batchlab.fitting.fit import METHOD, AcrossFit, GroupFit, PointsFit
from batchlab.records.estimate import Estimate
from batchlab.report.parts.estimate_text import estimate_text
from batchlab.report.parts.table import Column, Table
from batchlab.words.reasons import reason_text

WIDTH = 88


def fit_text(found: PointsFit) -> str:
    """The fits for people: for each group its batch sizes, the law in numbers, and its caveats.

    Returns:
        Lines of at most 88 characters where words can be wrapped, ended by a newline.
    """
    parts = [_group_text(group, found.overhead_fraction) for group in found.groups]
    if found.across is not None:
        parts.append("\n".join(_wrapped(f"- {across_text(law)}") for law in found.across))
    parts.append(_wrapped(f"Fitted by {METHOD}."))
    return "\n\n".join(parts) + "\n"


def _group_text(group: GroupFit, overhead_fraction: float) -> str:
    title = group_name(group.group) or "all points"
    table = group_table(group).without_empty_columns().to_text()
    facts = "\n".join(_wrapped(f"- {fact}") for fact in group_facts(group, overhead_fraction))
    return f"{title}\n\n{table}\n\n{facts}"


def group_table(group: GroupFit) -> Table:
    """One row a batch size of a group."""
    columns = (
        Column(key="batch_size", quantity="batch_size"),
        Column(key="n", quantity="n", label="runs"),
        Column(key="n_reached", quantity="n", label="reached"),
        Column(key="learning_rate", quantity="learning_rate"),
        Column(key="steps_to_target", quantity="steps_to_target"),
        Column(key="fitted_steps", quantity="steps_to_target", label="on the law"),
        Column(key="step_s", quantity="step_s"),
        Column(key="time_to_target_s", quantity="time_to_target_s"),
    )
    return Table(
        caption="steps to target by batch size",
        columns=columns,
        rows=tuple(
            tuple(getattr(row, column.key) for column in columns) for row in group.batch_sizes
        ),
    )


def group_facts(group: GroupFit, overhead_fraction: float) -> Iterator[str]:
    """Facts about the law of a group, a line each: B_crit first."""
    law = group.fit
    yield "critical batch size B_crit: " + _estimate_or_reason("critical_batch_size", law.b_crit)
    if law.law_holds:
        yield "S_min, steps with large batches: " + _estimate_or_reason(
            "steps_to_target", law.s_min
        )
        yield "E_min, samples with small batches: " + _estimate_or_reason(
            "samples_to_target", law.e_min
        )
        yield (
            f"largest batch size with at most {100 * overhead_fraction:g} % more samples than "
            f"batch size {group.reference_batch_size:g}: "
            + _estimate_or_reason("critical_batch_size", group.batch_at_overhead)
        )
    test = law.lack_of_fit
    if test.p_value is None:
        yield f"whether the law holds was not tested: {reason_text(test.reason)}"
    else:
        verdict = "rejects the law" if test.rejected else "finds nothing against the law"
        yield f"the test against the scatter of the seeds {verdict} (p = {test.p_value:.2g})"
    if law.exponent.estimate is not None:
        yield "exponent that the points ask for (the law has 1): " + _estimate_or_reason(
            "ratio", law.exponent
        )
    if any(row.learning_rate is not None for row in group.batch_sizes):
        yield (
            "each batch size counts at the learning rate with the fewest steps in the mean over "
            "its seeds"
        )
    edges = [str(row.batch_size) for row in group.batch_sizes if row.rate_at_edge]
    if edges:
        yield (
            f"at batch size {', '.join(edges)} the best learning rate is the smallest or largest "
            f"tried: a wider search may need fewer steps"
        )


def _estimate_or_reason(quantity: str, estimate: Estimate) -> str:
    text = estimate_text(quantity, estimate)
    return text if estimate.reason is None else f"{text}: {reason_text(estimate.reason)}"


def across_text(law: AcrossFit) -> str:
    """A power law over a column, in one line."""
    within = f" ({group_name(law.group)})" if law.group else ""
    head = f"{law.quantity} over {law.column}{within}: "
    if law.law.exponent.estimate is None:
        return head + reason_text(law.law.exponent.reason)
    left = f"; {law.left_out} groups without it left out" if law.left_out else ""
    return (
        head
        + f"{law.law.coefficient.estimate:.3g} × {law.column}^"
        + _estimate_or_reason("ratio", law.law.exponent)
        + left
    )


def group_name(group: tuple[tuple[str, str], ...]) -> str:
    """The values that tell a group apart; empty without grouping."""
    return ", ".join(f"{column} {value}" for column, value in group)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
