"""CheckText: whether a gradient stays what it is under accumulation, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.records.study import Accumulation, Finding
from batchlab.report.parts.wrapped_text import wrapped_text
from batchlab.words.catalogue import text
from batchlab.words.reasons import CAUSES


def check_text(found: Accumulation) -> str:
    """The answer, then each cause with its place and what to do.

    Returns:
        Lines as wide as the terminal, else 88, where words can be wrapped, ended by a newline.
    """
    parts = [wrapped_text(_answer(found)), *map(wrapped_text, check_facts(found))]
    return "\n\n".join(parts) + "\n"


def _answer(found: Accumulation) -> str:
    if not found.findings:
        return text(
            "{workload}: a batch and its micro-batches have the same gradient.",
            workload=found.workload,
        )
    if found.equal:
        return text(
            "{workload}: a batch and its micro-batches have the same gradient on average; the two "
            "differ by chance.",
            workload=found.workload,
        )
    return text(
        "{workload}: a batch and its micro-batches do NOT have the same gradient.",
        workload=found.workload,
    )


def check_facts(found: Accumulation) -> Iterator[str]:
    """Each cause, then what was compared."""
    for finding in found.findings:
        yield finding_text(finding)
    if found.in_double:
        yield text("Compared in float64, on {n} training examples.", n=found.n_examples)
    else:
        yield text(
            "Compared on {n} training examples in the model's own precision, because it takes no "
            "float64.",
            n=found.n_examples,
        )
    if found.rounding is not None:
        yield text(
            "In the workload's own precision they differ by {rounding:.1g} of the gradient. That "
            "is rounding.",
            rounding=found.rounding,
        )


def finding_text(finding: Finding) -> str:
    """A cause with its place, how much it makes, and what to do."""
    size = ""
    if finding.size is not None:
        size = text(" ({size:percent} of the gradient)", size=finding.size)
    return text(
        "- {where}{size}: {cause}",
        where=finding.where,
        size=size,
        cause=text(CAUSES[finding.cause]),
    )
