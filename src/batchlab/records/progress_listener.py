"""ProgressListener: who is told how a long piece of work gets on."""

from __future__ import annotations

from typing import Protocol


class ProgressListener(Protocol):
    """Who is told how the work gets on."""

    def phase(self, text: str) -> None:
        """A new part of the work begins."""
        ...

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """So much of the training is done; so many seconds are left, None: not known yet."""
        ...

    def warning(self, text: str) -> None:
        """Something the user should know."""
        ...


class Silent:
    """A listener that does nothing."""

    def phase(self, text: str) -> None:
        """Say nothing."""

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """Say nothing."""

    def warning(self, text: str) -> None:
        """Say nothing."""
