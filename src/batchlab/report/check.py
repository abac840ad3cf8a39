"""Whether a gradient stays what it is under accumulation: as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from batchlab.records.json_document import SCHEMA
from batchlab.records.study import Accumulation, Finding
from batchlab.report.text import wrapped_text
from batchlab.version import __version__
from batchlab.words.catalogue import text
from batchlab.words.document import document_text
from batchlab.words.reasons import CAUSES


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


def check_json(found: Accumulation) -> str:
    """The document as JSON text."""
    return document_text(
        CheckDocument(
            schema=SCHEMA,
            command="check",
            batchlab=__version__,
            workload=found.workload,
            equal=found.equal,
            findings=tuple(
                FindingDocument(
                    cause=finding.cause,
                    where=finding.where,
                    size=finding.size,
                    by_chance=finding.by_chance,
                    text=text(CAUSES[finding.cause]),
                )
                for finding in found.findings
            ),
            n_examples=found.n_examples,
            in_double=found.in_double,
            rounding=found.rounding,
        )
    )


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
