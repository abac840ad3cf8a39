"""cube-root: a rule that batchlab does not have."""

from __future__ import annotations

import math

from batchlab.plans.scaling_rule import ScalingRule

RULE = ScalingRule(place=9, rate_factor=math.cbrt)
