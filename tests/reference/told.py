"""A listener that keeps what a command tells while it works."""

from collections.abc import Sequence

from batchlab.records.progress_listener import ProgressListener


class Told(ProgressListener):
    def __init__(self) -> None:
        self.begun: list[tuple[str, str, list[str]]] = []
        self.phases: list[str] = []
        self.warnings: list[str] = []
        self.fractions: list[float] = []
        self.left_s: list[float | None] = []
        self.texts: list[str] = []
        self.phase, self.warning = self.phases.append, self.warnings.append

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        self.begun.append((command, subject, list(stages)))

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        self.fractions.append(done_fraction)
        self.left_s.append(left_s)
        self.texts.append(text)
