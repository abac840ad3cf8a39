"""The document of a check of gradient accumulation, `Accumulation`, made of `Finding` records."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.version import __version__
from batchlab.words.catalogue import CAUSES, text
from batchlab.words.document import SCHEMA


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One cause of a difference between the accumulated gradient and the whole batch's gradient.

    Attributes:
        cause: a code; `CAUSES` of `batchlab.words.catalogue` explains it and says what to do.
        where: the layers, parameters or function in which the cause lies.
        size: |accumulated gradient - whole gradient| / |whole gradient|; None if the two could not
            be compared.
        by_chance: whether only random numbers cause the difference, which is then 0 on average.
    """

    cause: str
    where: str
    size: float | None
    by_chance: bool = False

    document = ("cause", "where", "size", "by_chance", "text")

    @property
    def text(self) -> str:
        """The explanation of the cause, and what to do about it."""
        return text(CAUSES[self.cause])


@dataclass(frozen=True, kw_only=True, slots=True)
class Accumulation:
    """Whether accumulation over micro-batches gives the gradient of the whole batch.

    Attributes:
        workload: the workload's name.
        n_examples: the number of examples in the batch.
        in_double: whether the gradients were compared in float64; false if the model accepts only
            its own precision.
        findings: all causes of a difference that were found.
    """

    schema: int = SCHEMA
    command: str = "check"
    batchlab: str = __version__
    workload: str
    n_examples: int
    in_double: bool
    findings: tuple[Finding, ...]

    document = (
        *("schema", "command", "batchlab", "workload", "equal", "findings", "n_examples"),
        "in_double",
    )

    @property
    def equal(self) -> bool:
        """Whether the accumulated gradient is the whole batch's, except for random differences."""
        return all(finding.by_chance for finding in self.findings)
