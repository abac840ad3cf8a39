"""Cases of which one runs at every commit and the others with the slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_fast(cases: Iterable[Any], fast: Any) -> list[Any]:
    """The parameters `cases`; all but `fast` are marked slow."""
    found = list(cases)
    assert fast in found
    return [pytest.param(case, marks=() if case == fast else pytest.mark.slow) for case in found]
