"""Output environment: variables that make a training print at once what it prints."""

from __future__ import annotations

from collections.abc import Mapping

# Python writes into a pipe at once; rich draws its bars there too, and breaks no line of them.
_SETTINGS = {"PYTHONUNBUFFERED": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "300"}


def output_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment for a training whose output is read; what the user has set stays.

    Args:
        given: the environment that it would have otherwise.
    """
    return {**_SETTINGS, **given}
