"""The cases of a long table that scripts/test runs; the night runs all of them."""

from collections.abc import Iterable
from typing import Any

import pytest


def by_day(cases: Iterable[Any], day: Iterable[Any]) -> list[Any]:
    """The parameters `cases`; all but those of `day` are left to scripts/nightly."""
    found, kept = list(cases), list(day)
    assert all(case in found for case in kept)
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if case in kept else pytest.mark.nightly,
        )
        for case in found
    ]
