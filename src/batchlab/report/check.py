"""The answer to whether accumulation changes a gradient, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import msgspec

from batchlab.records.study import Accumulation, Finding
from batchlab.report.text import wrapped_text
from batchlab.version import __version__
from batchlab.words.catalogue import text
from batchlab.words.document import SCHEMA, document_text
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
    """Return the document as JSON text."""
    findings = tuple(
        FindingDocument(**asdict(finding), text=text(CAUSES[finding.cause]))
        for finding in found.findings
    )
    fields = asdict(found) | {"findings": findings, "equal": found.equal}
    document = CheckDocument(schema=SCHEMA, command="check", batchlab=__version__, **fields)
    return document_text(document)


def check_text(found: Accumulation) -> str:
    """Return the answer, then each cause with its place and what to do, wrapped for a terminal."""
    return "\n\n".join(map(wrapped_text, _said(found))) + "\n"


def _said(found: Accumulation) -> Iterator[str]:
    if not found.findings:
        answer = "{workload}: a batch and its micro-batches have the same gradient."
    elif found.equal:
        answer = (
            "{workload}: a batch and its micro-batches have the same gradient on average; the two "
            "differ by chance."
        )
    else:
        answer = "{workload}: a batch and its micro-batches do NOT have the same gradient."
    yield text(answer, workload=found.workload)
    yield from map(_finding_text, found.findings)
    compared = (
        "Compared in float64, on {n} training examples."
        if found.in_double
        else "Compared on {n} training examples in the model's own precision, because it takes no "
        "float64."
    )
    yield text(compared, n=found.n_examples)
    if found.rounding is not None:
        yield text(
            "In the workload's own precision they differ by {rounding:.1g} of the gradient. That "
            "is rounding.",
            rounding=found.rounding,
        )


def _finding_text(finding: Finding) -> str:
    """Describe a cause: its place, its size, and what to do."""
    size = (
        "" if finding.size is None else text(" ({size:percent} of the gradient)", size=finding.size)
    )
    cause = text(CAUSES[finding.cause])
    return text("- {where}{size}: {cause}", where=finding.where, size=size, cause=cause)
