"""A replication as Markdown: its claims first, what did not hold on top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchlab import Estimate
from replications.claims import JudgedClaim, Verdict
from replications.experiment import Paper, Studies
from replications.tables import Range

ORDER: tuple[Verdict, ...] = ("did not hold", "can't tell", "held")


def markdown(
    paper: Paper, judged: Sequence[JudgedClaim], studies: Studies, *, is_quick: bool
) -> str:
    """Return the whole text."""
    return "\n".join(_lines(paper, judged, studies, is_quick)) + "\n"


def _lines(
    paper: Paper, judged: Sequence[JudgedClaim], studies: Studies, is_quick: bool
) -> Iterator[str]:
    yield f"# {paper.name}, {'quick' if is_quick else 'full'} form\n"
    yield f"{paper.title}\n\nSource: {paper.paper}.\n"
    # The quick form is too small for a claim about the paper's own size.
    told = [each for each in judged if not (is_quick and each.claim.at_full_size)]
    yield "| verdict | claim | measured as | here | published |\n|---|---|---|---|---|"
    for each in sorted(told, key=lambda each: ORDER.index(each.verdict)):
        cells = each.claim.says, each.claim.measured_as, number_text(each.measured)
        yield f"| {each.verdict} | {' | '.join(cells)} | {_published(each)} |"
    n_left = len(judged) - len(told)
    if n_left:
        yield f"\nOnly the full form can tell about the paper's own sizes: {n_left} more claims."
    yield "\n## What was trained\n"
    yield from (f"- {sentence}" for sentence in paper.protocol)
    n_trials = sum(len(study.records) for study in studies.values())
    spent_s = sum(study.spent_s for study in studies.values())
    yield f"- {n_trials} trainings in {len(studies)} sweeps, {spent_s:.0f} s."
    known = dict(next(iter(studies.values())).environment)
    yield "- On " + ", ".join(
        f"{name} {known[name]}" for name in ("processor", "cores", "torch") if name in known
    )
    if paper.left_open:
        yield "\n## What the source leaves open, and what was taken\n"
        yield from (f"- {sentence}" for sentence in paper.left_open)


def number_text(number: Estimate) -> str:
    """Return a number with its interval, or the bound if only that is known."""
    low, high = (None if end is None else f"{end:.4g}" for end in (number.low, number.high))
    if number.estimate is None:
        if low and high:
            return f"from {low} to {high}"
        if low or high:
            return f"at least {low}" if low else f"at most {high}"
        return "not known"
    value = f"{number.estimate:.4g}"
    if low == high:
        return value
    return f"{value} ({low or '–'} to {high or '–'})"


def _published(each: JudgedClaim) -> str:
    said = "no number" if each.published is None else range_text(each.published)
    within = each.claim.holds_within(each.published)
    notes = [] if each.is_verified else ["unverified"]
    if within is not None and within != each.published:
        notes.append(f"holds if {range_text(within)}")
    return f"{said} ({'; '.join(notes)})" if notes else said


def range_text(of: Range) -> str:
    """Return a published number or range as it is written in a table."""
    if of.low is None or of.high is None:
        return f"< {of.high:.4g}" if of.low is None else f"> {of.low:.4g}"
    return f"{of.low:.4g}" if of.low == of.high else f"{of.low:.4g} to {of.high:.4g}"
