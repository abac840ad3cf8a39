"""none: the learning rate stays as it is given."""

from __future__ import annotations

from batchlab.plans.scaling_rule import ScalingRule

RULE = ScalingRule(place=0, rate_factor=lambda kappa: 1.0)
