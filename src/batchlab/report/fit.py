"""The fits of a points file in words and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab.fitting.fit import METHOD, AcrossFit, GroupFit, PointsFit
from batchlab.laws.registry import FittedLaw
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.table import Column, Section, Table, table_of
from batchlab.report.text import estimate_text
from batchlab.words.catalogue import plural, text
from batchlab.words.reasons import reason_text

_REJECTED = (
    "the law does not fit: the seeds scatter too little to explain the distance (p = {p:.2g})"
)
_NOT_REJECTED = (
    "nothing speaks against the law: the seeds scatter enough to explain the distance (p = {p:.2g})"
)


def fit_sections(found: PointsFit) -> Iterator[Section]:
    """For each group the law in numbers, its caveats and its batch sizes; then all of them."""
    all_points = text("Steps to target of {source}", source=found.source)
    for group in found.groups:
        facts = tuple(_facts(group, found.overhead_fraction))
        yield Section(title=_name(group.group) or all_points, facts=facts, table=_table(group))
    if found.across:
        yield Section(title=text("Across the groups"), facts=tuple(map(_across_text, found.across)))
    yield Section(facts=(text("Fitted by {method}.", method=text(METHOD)),))


def _table(group: GroupFit) -> Table:
    """One row a batch size of a group."""
    return table_of(
        text("steps to target by batch size"),
        group.batch_sizes,
        Column("batch_size"),
        Column("n", label=text("runs")),
        Column("n_reached", "n", text("reached")),
        Column("learning_rate"),
        Column("steps_to_target"),
        Column("fitted_steps", "steps_to_target", text("on the law")),
        Column("step_s"),
        Column("time_to_target_s"),
    ).without_empty_columns()


def _facts(group: GroupFit, overhead_fraction: float) -> Iterator[str]:
    """A line each: those of the law that decisions use first."""
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
        why = reason_text(test.reason)
        yield text("whether the law holds was not tested: {reason}", reason=why)
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


def _parameters(fitted: FittedLaw) -> Iterator[str]:
    """A line for each parameter of a law; the same reason for several is told once."""
    told: set[Reason | None] = {None}
    for parameter in fitted.parameters:
        known = parameter.value
        if known.reason is None or known.reason not in told:
            value = _estimate_or_reason(parameter.quantity, known)
            yield text("{label}: {value}", label=text(parameter.label), value=value)
        told.add(known.reason)


def _distances(laws: Sequence[FittedLaw]) -> Iterator[str]:
    """How far the runs lie from each law, where there are several to compare."""
    parts = [
        # What noise-free points leave is rounding.
        text("{sd:percent} from {formula}", sd=round(sd, 6), formula=text(law.formula))
        for law in laws
        if (sd := law.residual_sd) is not None
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


def _across_text(law: AcrossFit) -> str:
    """A power law over a column, in one line."""
    over = text("{quantity} over {column}", quantity=law.quantity, column=law.column)
    if law.group:
        over = text("{over} ({group})", over=over, group=_name(law.group))
    exponent = law.exponent
    if exponent.estimate is None:
        return text("{over}: {reason}", over=over, reason=reason_text(exponent.reason))
    told = text(
        "{over}: {coefficient:.3g} × {column}^{exponent}",
        over=over,
        coefficient=law.coefficient.estimate,
        column=law.column,
        exponent=_estimate_or_reason("ratio", exponent),
    )
    if not law.left_out:
        return told
    return plural(
        "{law}; {n} group without it left out",
        "{law}; {n} groups without it left out",
        law.left_out,
        law=told,
    )


def _name(group: dict[str, str]) -> str:
    """The values that tell a group apart; empty without grouping."""
    return ", ".join(f"{column} {value}" for column, value in group.items())
