"""Observations that no run can have given."""

from __future__ import annotations

import math

import pytest

from batchlab.errors import FitError
from batchlab.laws.steps_curve import StepsObservation


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 64, "after_steps": 0, "steps": math.nan}, "finite"),
        ({"batch_size": 64, "after_steps": 0, "steps": 0.0}, "above 0"),
        ({"batch_size": 0, "after_steps": 0, "steps": 5.0}, "at least 1"),
        ({"batch_size": 64, "after_steps": 9, "steps": 5.0}, "not below after_steps"),
        ({"batch_size": 64, "after_steps": 0, "steps": None}, "after_steps"),
    ],
)
def test_an_observation_that_cannot_be_is_refused(given, message):
    with pytest.raises(FitError, match=message):
        StepsObservation(**given)
