"""Finding and Accumulation: what a check of accumulation found, as its document."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.version import __version__
from batchlab.words.catalogue import CAUSES, text
from batchlab.words.document import SCHEMA


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One cause why the accumulated gradient is not that of the whole batch.

    Attributes:
        cause: a code; `CAUSES` of `batchlab.words.catalogue` says what it means and what to do.
        where: the layers, parameters or function that it lies in.
        size: how far the accumulated gradient is off, over the batch's gradient; None if it was
            not compared.
        by_chance: whether it is only due to random draws, so that it is the same on average.
    """

    cause: str
    where: str
    size: float | None
    by_chance: bool = False

    document = ("cause", "where", "size", "by_chance", "text")

    @property
    def text(self) -> str:
        """What the cause means and what to do about it."""
        return text(CAUSES[self.cause])


@dataclass(frozen=True, kw_only=True, slots=True)
class Accumulation:
    """Whether a gradient stays the same when its batch is cut into micro-batches.

    Attributes:
        workload: its name.
        n_examples: the number of examples in the batch that was cut.
        in_double: whether it was compared in float64; if not, the model takes only its own
            precision.
        rounding: how far the accumulated gradient is off in the workload's own precision, over the
            batch's; None if not compared.
        findings: every cause that was found.
    """

    schema: int = SCHEMA
    command: str = "check"
    batchlab: str = __version__
    workload: str
    n_examples: int
    in_double: bool
    rounding: float | None
    findings: tuple[Finding, ...]

    document = (
        *("schema", "command", "batchlab", "workload", "equal", "findings", "n_examples"),
        *("in_double", "rounding"),
    )

    @property
    def equal(self) -> bool:
        """Whether the gradient is the same, except for random draws."""
        return all(finding.by_chance for finding in self.findings)
