"""Accumulation: whether a workload's gradient stays what it is when a batch is cut into pieces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One cause why the accumulated gradient is not that of the whole batch.

    Attributes:
        cause: a code; `CAUSES` of `batchlab.words.reasons` says what it means and what to do.
        where: the layers, parameters or function that it lies in.
        size: how far the accumulated gradient is off, over the batch's gradient; None: the gradient
            was not compared.
        by_chance: whether it is random draws alone, so that it is the same on average.
    """

    cause: str
    where: str
    size: float | None
    by_chance: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Accumulation:
    """Whether a gradient stays what it is when its batch is cut into micro-batches.

    Attributes:
        workload: its name.
        n_examples: of the batch that was cut.
        in_double: whether it was compared in float64; otherwise the model takes its own precision
            alone.
        rounding: how far the accumulated gradient is off in the workload's own precision, over the
            batch's; None: not compared.
        findings: every cause that was found.
    """

    workload: str
    n_examples: int
    in_double: bool
    rounding: float | None
    findings: tuple[Finding, ...]

    @property
    def equal(self) -> bool:
        """Whether it is the same, but for random draws."""
        return all(finding.by_chance for finding in self.findings)
