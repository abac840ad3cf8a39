"""The fits of a points file as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.fitting.fit import METHOD, AcrossFit, GroupFit, PointsFit
from batchlab.laws.registry import FittedLaw
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.table import Column, Table
from batchlab.report.text import estimate_text, wrapped_text
from batchlab.words.catalogue import plural, text
from batchlab.words.reasons import reason_text


def fit_text(found: PointsFit) -> str:
    """The fits for people: for each group its batch sizes, the law in numbers, and its caveats.

    Returns:
        Lines as wide as the terminal, else 88, where words can be wrapped, ended by a newline.
    """
    parts = [_group_text(group, found.overhead_fraction) for group in found.groups]
    if found.across is not None:
        parts.append("\n".join(wrapped_text(f"- {across_text(law)}") for law in found.across))
    parts.append(wrapped_text(method_text()))
    return "\n\n".join(parts) + "\n"


def method_text() -> str:
    """How the laws were fitted."""
    return text("Fitted by {method}.", method=text(METHOD))


def _group_text(group: GroupFit, overhead_fraction: float) -> str:
    title = group_name(group.group) or text("all points")
    table = group_table(group).without_empty_columns().to_text()
    facts = "\n".join(wrapped_text(f"- {fact}") for fact in group_facts(group, overhead_fraction))
    return f"{title}\n\n{table}\n\n{facts}"


def group_table(group: GroupFit) -> Table:
    """One row a batch size of a group."""
    columns = (
        Column(key="batch_size", quantity="batch_size"),
        Column(key="n", quantity="n", label=text("runs")),
        Column(key="n_reached", quantity="n", label=text("reached")),
        Column(key="learning_rate", quantity="learning_rate"),
        Column(key="steps_to_target", quantity="steps_to_target"),
        Column(key="fitted_steps", quantity="steps_to_target", label=text("on the law")),
        Column(key="step_s", quantity="step_s"),
        Column(key="time_to_target_s", quantity="time_to_target_s"),
    )
    return Table(
        caption=text("steps to target by batch size"),
        columns=columns,
        rows=tuple(
            tuple(getattr(row, column.key) for column in columns) for row in group.batch_sizes
        ),
    )


def group_facts(group: GroupFit, overhead_fraction: float) -> Iterator[str]:
    """Facts about the laws of a group, a line each: those of the law that decisions use first."""
    used, *others = group.laws
    yield from _parameters(used)
    if group.law_holds:
        yield text(
            "largest batch size with at most {more:g} % more samples than batch size "
            "{reference:g}: {value}",
            more=100 * overhead_fraction,
            reference=group.reference_batch_size,
            value=_estimate_or_reason("critical_batch_size", group.batch_at_overhead),
        )
    test = group.lack_of_fit
    if test.p_value is None:
        yield text(
            "whether the law holds was not tested: {reason}", reason=reason_text(test.reason)
        )
    else:
        yield text(_REJECTED if test.rejected else _NOT_REJECTED, p=test.p_value)
    for law in others:
        yield from _parameters(law)
    yield from _distances(group.laws)
    if any(row.learning_rate is not None for row in group.batch_sizes):
        yield text(
            "each batch size counts at the learning rate with the fewest steps, averaged over its "
            "seeds"
        )
    edges = [str(row.batch_size) for row in group.batch_sizes if row.rate_at_edge]
    if edges:
        yield text(
            "at batch size {sizes} the best learning rate is at the edge of those tried: a wider "
            "search may need fewer steps",
            sizes=", ".join(edges),
        )


_REJECTED = (
    "the law does not fit: the seeds scatter too little to explain the distance (p = {p:.2g})"
)
_NOT_REJECTED = (
    "nothing speaks against the law: the seeds scatter enough to explain the distance (p = {p:.2g})"
)


def _parameters(fitted: FittedLaw) -> Iterator[str]:
    """A line for each parameter of a law; the same reason for several is told once."""
    told: set[Reason] = set()
    for parameter in fitted.parameters:
        value = parameter.value
        if value.reason in told:
            continue
        if value.reason is not None:
            told.add(value.reason)
        yield text(
            "{label}: {value}",
            label=text(parameter.label),
            value=_estimate_or_reason(parameter.quantity, value),
        )


def _distances(laws: Sequence[FittedLaw]) -> Iterator[str]:
    """How far the runs lie from each law, where there are several to compare."""
    known = [(law, law.residual_sd) for law in laws]
    parts = [
        # What noise-free points leave is rounding.
        text("{sd:percent} from {formula}", sd=round(sd, 6), formula=text(law.formula))
        for law, sd in known
        if sd is not None
    ]
    if len(parts) > 1:
        yield text(
            "distance of the runs from each law (standard deviation): {distances}",
            distances=", ".join(parts),
        )


def _estimate_or_reason(quantity: str, estimate: Estimate) -> str:
    value = estimate_text(quantity, estimate)
    if estimate.reason is None:
        return value
    return text("{value}: {reason}", value=value, reason=reason_text(estimate.reason))


def across_text(law: AcrossFit) -> str:
    """A power law over a column, in one line."""
    over = text("{quantity} over {column}", quantity=law.quantity, column=law.column)
    if law.group:
        over = text("{over} ({group})", over=over, group=group_name(law.group))
    if law.exponent.estimate is None:
        return text("{over}: {reason}", over=over, reason=reason_text(law.exponent.reason))
    told = text(
        "{over}: {coefficient:.3g} × {column}^{exponent}",
        over=over,
        coefficient=law.coefficient.estimate,
        column=law.column,
        exponent=_estimate_or_reason("ratio", law.exponent),
    )
    if not law.left_out:
        return told
    return plural(
        "{law}; {n} group without it left out",
        "{law}; {n} groups without it left out",
        law.left_out,
        law=told,
    )


def group_name(group: dict[str, str]) -> str:
    """The values that tell a group apart; empty without grouping."""
    return ", ".join(f"{column} {value}" for column, value in group.items())
