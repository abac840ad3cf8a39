"""CheckDocument: what `batchlab check --json` prints, described by docs/schema/check.json."""

from __future__ import annotations

import msgspec

from batchlab.records.json_document import SCHEMA
from batchlab.records.study import Accumulation
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
