"""A listener that keeps what a command tells while it works."""

from __future__ import annotations


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.warnings: list[str] = []
        self.fractions: list[float] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        self.fractions.append(done_fraction)
