"""Moments: a stored time as people read it, on their own clock."""

from __future__ import annotations

from datetime import UTC, datetime


def moment_text(moment: str) -> str:
    """A time as the clock on the wall had it, with its zone: "2026-01-01 14:05 CET".

    Args:
        moment: ISO 8601; without a zone it is UTC. A text that is no time stays as it is.
    """
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return then.astimezone().strftime("%Y-%m-%d %H:%M %Z")
